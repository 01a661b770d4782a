"""Files that are either whole or absent: write beside the target, fsync, rename."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from wherefrom.errors import StoreError
from wherefrom.place import Place


@contextmanager
def atomic_path(target: Place) -> Iterator[Path]:
    """Yields a temporary local path that replaces `target` when the block ends without an error.

    The file is fsynced before the rename, so a crash leaves either the old file or the new one. A remote
    target is put in one piece, which an object store takes whole or not at all.
    """
    if not isinstance(target, Path):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder) / target.name
            write_bytes(target, (Path(folder) / target.name).read_bytes())
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yields a temporary folder that becomes `target` when the block ends without an error."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    temporary.mkdir()
    try:
        yield temporary
        if target.exists():
            remove_ours(target)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_bytes(target: Place, data: bytes | bytearray) -> None:
    """Writes bytes atomically."""
    if isinstance(target, Path):
        with atomic_path(target) as temporary:
            temporary.write_bytes(data)
        return
    files, whole = target.fs, bytes(data)
    try:
        files.pipe_file(target.path, whole)
    except FileNotFoundError:
        # unlike an object store, a server with real folders wants them made
        files.makedirs(target.parent.path, exist_ok=True)
        files.pipe_file(target.path, whole)


def drop_partials(target: Path) -> None:
    """Deletes what killed writers of `target` left beside it."""
    for left in target.parent.glob(f".{target.name}.*.partial"):
        left.unlink(missing_ok=True)


def write_text(target: Place, text: str) -> None:
    """Writes UTF-8 text atomically."""
    write_bytes(target, text.encode("utf-8"))


def write_json(target: Place, value: Any) -> None:
    """Writes JSON atomically: sorted keys, two spaces, NaN refused."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Place) -> Any:
    """Reads JSON.

    Raises:
        StoreError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: missing or damaged ({error}).") from None


def file_name(text: str) -> str:
    """A file name for any text: as it is where that is harmless, else with a digest of what was changed.

    Example:
        >>> file_name("influence(damping=0.1)")
        'influence(damping=0.1)'
        >>> file_name("embedding(model=/models/e5)")
        'embedding(model=_models_e5)-ed8482'
    """
    safe = re.sub(r"[^\w ()=,.+-]", "_", text)[:150]
    return safe if safe == text else f"{safe}-{xxhash.xxh3_64_hexdigest(text.encode())[:6]}"


OURS = ".wherefrom"


def mark_ours(folder: Place) -> None:
    """Leaves the mark without which `remove_ours` will not delete a folder."""
    text = "This folder was made by wherefrom and may be replaced by it.\n"
    if isinstance(folder, Path):
        (folder / OURS).write_text(text)
    else:
        write_text(folder / OURS, text)


def is_ours(folder: Place) -> bool:
    """Whether a folder carries our mark."""
    return (folder / OURS).is_file()


def remove_ours(folder: Place) -> None:
    """Deletes a folder that is empty or carries our mark, and refuses any other.

    Raises:
        StoreError: the folder exists and wherefrom did not make it.
    """
    require_ours(folder)
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.fs.rm(folder.path, recursive=True)


def require_ours(folder: Place) -> None:
    """Refuses a folder that is neither empty nor carries our mark.

    Raises:
        StoreError: the folder exists and wherefrom did not make it.
    """
    if any(folder.iterdir()) and not is_ours(folder):
        raise StoreError(
            f"{folder} exists and was not made by wherefrom (no {OURS} file in it), so it is left "
            "alone. Choose another --out, or remove the folder yourself."
        )
