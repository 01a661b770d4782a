"""Kronecker factors on disk: sums over the chunks that were seen, safetensors, a part for each writer."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save_file

from wherefrom.atomic import (
    atomic_path,
    drop_partials,
    is_ours,
    mark_ours,
    remove_ours,
    require_ours,
)
from wherefrom.curvature import FactorSums
from wherefrom.errors import StoreError
from wherefrom.identity import require_same
from wherefrom.place import Place, local_copy, names_in

_PART = "part-"
_SAVED_EVERY = 60.0


class FactorStore:
    """Adds up the factors of chunks; an interrupted sum is taken up where it was last written.

    Several processes may add to one store, each its own chunks and each as a part of its own; a later
    run may have another number of them. Where one is told to restart, the others come after it.

    Args:
        folder: where it lies; memory alone when None.
        chunks: how many chunks there are.
        identity: what the factors are made from.
        restart: throw away what is there.
        part: which of the writers this is, from 0.

    Raises:
        IdentityError: the folder holds factors of something else.
        StoreError: the folder is not ours, or damaged.
    """

    def __init__(
        self,
        folder: Place | None,
        chunks: int,
        identity: dict[str, Any],
        *,
        restart: bool = False,
        part: int = 0,
    ) -> None:
        self._folder = folder
        self._file = f"{_PART}{part:04d}.safetensors"
        self._about: dict[str, Any] = {"identity": identity, "chunks": chunks, "held": []}
        self._own = FactorSums()
        self._missing = set(range(chunks))
        self._saved = time.monotonic()
        self._written = True
        if folder is None:
            return
        if restart and folder.exists():
            remove_ours(folder)
        if folder.exists():
            require_ours(folder)
        if isinstance(folder, Path):
            folder.mkdir(parents=True, exist_ok=True)
        if not is_ours(folder):
            mark_ours(folder)
        for name in _parts(folder):
            held = _about(folder, name)
            require_same(
                held["identity"],
                identity,
                f"the factors in {folder}",
                "this job",
                "Use --restart to replace them, or another --out.",
            )
            self._missing -= set(held["held"])
            if name == self._file:
                self._about, self._own = held, _sums(folder, name)

    @property
    def sums(self) -> FactorSums:
        """What all parts hold, other writers' as they are on disk now."""
        if self._folder is None:
            return self._own
        others = [name for name in _parts(self._folder) if name != self._file]
        if not others:
            return self._own
        found = FactorSums()
        for name in sorted({*others, self._file}):
            found.merge(self._own if name == self._file else _sums(self._folder, name))
        return found

    def missing(self) -> Sequence[int]:
        """Chunks that no part held when this one was opened, and that were not added since."""
        return sorted(self._missing)

    def add(self, chunk: int, sums: FactorSums) -> None:
        """Adds the sums over one whole chunk; writes when none is missing, and once a minute before it."""
        self._own.merge(sums)
        self._missing.discard(chunk)
        self._about["held"] = sorted({*self._about["held"], chunk})
        self._written = False
        if not self._missing or time.monotonic() - self._saved > _SAVED_EVERY:
            self.flush()

    def flush(self) -> None:
        """Writes what was added since the last time; to be called when a writer has done its share."""
        if self._folder is None or self._written:
            return
        target = self._folder / self._file
        if isinstance(target, Path):
            drop_partials(target)
        with atomic_path(target) as temporary:
            save_file(self._own.arrays(), temporary, {"wherefrom": json.dumps(self._about)})
        self._saved = time.monotonic()
        self._written = True


def read_factors(folder: Place) -> FactorSums:
    """The factors in a folder, all parts added up in their order.

    Raises:
        StoreError: there are none, the sum was interrupted, or two parts hold the same chunk.
    """
    names = _parts(folder) if folder.exists() else []
    if not names:
        raise StoreError(f"{folder}: no Kronecker factors. Index with a method that needs them.")
    abouts = [_about(folder, name) for name in names]
    held = [chunk for about in abouts for chunk in about["held"]]
    if len(set(held)) < len(held):
        raise StoreError(f"{folder}: two parts hold the same chunk. Index again with --restart.")
    if left := abouts[0]["chunks"] - len(held):
        raise StoreError(f"{folder}: interrupted; {left} chunks to go. Index again.")
    found = _sums(folder, names[0])
    for name in names[1:]:
        found.merge(_sums(folder, name))
    return found


def _parts(folder: Place) -> list[str]:
    return sorted(name for name in names_in(folder) if name.startswith(_PART))


def _about(folder: Place, name: str) -> dict[str, Any]:
    """Identity, number of chunks, and those that a part holds."""
    try:
        with local_copy(folder / name) as path, safe_open(path, "np") as opened:
            found: dict[str, Any] = json.loads(opened.metadata()["wherefrom"])
            return found
    except Exception as error:
        raise _damaged(folder, error) from None


def _sums(folder: Place, name: str) -> FactorSums:
    try:
        with local_copy(folder / name) as path, safe_open(path, "np") as opened:
            arrays = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            return FactorSums.from_arrays(arrays)
    except Exception as error:
        raise _damaged(folder, error) from None


def _damaged(folder: Place, error: Exception) -> StoreError:
    return StoreError(f"{folder}: damaged ({error}). Index again with --restart.")
