"""Files that are either whole or absent: write beside the target, fsync, rename."""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xxhash

from wherefrom.errors import StoreError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yields a temporary path that replaces `target` when the block ends without an error.

    The file is fsynced before the rename, so a crash leaves either the old file or the new one.
    """
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


def write_text(target: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Writes JSON atomically: sorted keys, two spaces, NaN refused."""
    write_text(target, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
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


def mark_ours(folder: Path) -> None:
    """Leaves the mark without which `remove_ours` will not delete a folder."""
    (folder / OURS).write_text("This folder was made by wherefrom and may be replaced by it.\n")


def is_ours(folder: Path) -> bool:
    """Whether a folder carries our mark."""
    return (folder / OURS).is_file()


def remove_ours(folder: Path) -> None:
    """Deletes a folder that is empty or carries our mark, and refuses any other.

    Raises:
        StoreError: the folder exists and wherefrom did not make it.
    """
    if any(folder.iterdir()) and not is_ours(folder):
        raise StoreError(
            f"{folder} exists and was not made by wherefrom (no {OURS} file in it), so it is left "
            "alone. Choose another --out, or remove the folder yourself."
        )
    shutil.rmtree(folder)
