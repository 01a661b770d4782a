"""Space: whether a place can hold what is to be written there."""

from __future__ import annotations

import shutil
from math import inf
from pathlib import Path

from wherefrom.errors import StoreError
from wherefrom.place import Place

_USED = 0.95


def free_space(folder: Place) -> float:
    """Bytes that a folder, which need not exist yet, can still take; infinite where nobody tells.

    An object store does not tell.
    """
    if not isinstance(folder, Path):
        return inf
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def require_space(folder: Place, needed: int) -> None:
    """Refuses, before anything runs, a place that cannot hold what it must.

    Args:
        folder: where it goes; need not exist yet.
        needed: bytes that the folder takes in the end; what already lies in it counts as held.

    Raises:
        StoreError: there is too little space; both sizes and the ways out are named.
    """
    free = free_space(folder)
    if needed <= _USED * free or not isinstance(folder, Path):
        return
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if needed - held > _USED * free:
        more = f", {_gigabytes(held)} of it already there" if held else ""
        raise StoreError(
            f"{folder} would take {_gigabytes(needed)}{more}, but {_gigabytes(free)} are free. Put it on "
            "another disk or an object store with --signals, store half precision with --half, smaller "
            "gradients with --policy projected, or take fewer rows, or fewer blocks with --blocks."
        )


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB"
