"""Kronecker factors on disk: sums over the chunks that were seen, safetensors."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save_file

from wherefrom.atomic import atomic_path, mark_ours, remove_ours
from wherefrom.curvature import FactorSums
from wherefrom.errors import StoreError
from wherefrom.identity import require_same

_FILE = "factors.safetensors"
_SAVED_EVERY = 60.0


class FactorStore:
    """Adds up the factors of chunks; an interrupted sum is taken up where it was last written.

    Args:
        folder: where it lies; memory alone when None.
        chunks: how many chunks there are.
        identity: what the factors are made from.
        restart: throw away what is there.

    Raises:
        IdentityError: the folder holds factors of something else.
    """

    def __init__(
        self,
        folder: Path | None,
        chunks: int,
        identity: dict[str, Any],
        *,
        restart: bool = False,
    ) -> None:
        self.sums = FactorSums()
        self._folder = folder
        self._missing = set(range(chunks))
        self._identity = identity
        self._saved = time.monotonic()
        if folder is None:
            return
        if restart and folder.exists():
            remove_ours(folder)
        if (folder / _FILE).is_file():
            held, sums = _read(folder)
            require_same(
                held["identity"],
                identity,
                f"the factors in {folder}",
                "this job",
                "Use --restart to replace them, or another --out.",
            )
            self._missing = set(held["missing"])
            self.sums = sums
        else:
            if folder.exists():
                remove_ours(folder)
            folder.mkdir(parents=True)
            mark_ours(folder)

    def missing(self) -> Sequence[int]:
        """Chunks that have not been added yet."""
        return sorted(self._missing)

    def add(self, chunk: int, sums: FactorSums) -> None:
        """Adds the sums over one whole chunk; writes at the end, and once a minute before it."""
        self.sums.merge(sums)
        self._missing.discard(chunk)
        due = time.monotonic() - self._saved > _SAVED_EVERY
        if self._folder is not None and (due or not self._missing):
            about = {"identity": self._identity, "missing": sorted(self._missing)}
            with atomic_path(self._folder / _FILE) as temporary:
                save_file(self.sums.arrays(), temporary, {"wherefrom": json.dumps(about)})
            self._saved = time.monotonic()


def read_factors(folder: Path) -> FactorSums:
    """The factors in a folder.

    Raises:
        StoreError: there are none, or the sum was interrupted.
    """
    if not (folder / _FILE).is_file():
        raise StoreError(f"{folder}: no Kronecker factors. Index with a method that needs them.")
    held, sums = _read(folder)
    if held["missing"]:
        raise StoreError(
            f"{folder}: interrupted; {len(held['missing'])} chunks to go. Index again."
        )
    return sums


def _read(folder: Path) -> tuple[dict[str, Any], FactorSums]:
    try:
        with safe_open(folder / _FILE, "np") as opened:
            held = json.loads(opened.metadata()["wherefrom"])
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except Exception as error:
        raise StoreError(f"{folder}: damaged ({error}). Index again with --restart.") from None
    return held, FactorSums.from_arrays(arrays)
