"""The signal store: one Zarr v3 group, one manifest, chunks that are whole or absent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from wherefrom.atomic import mark_ours, remove_ours, write_json, write_text
from wherefrom.data import BatchPlan
from wherefrom.errors import StoreError, WherefromError
from wherefrom.identity import require_same
from wherefrom.signals import Block, SignalArray

FORMAT = 1
_MANIFEST = "manifest.json"


class SignalStore:
    """Signals of one data set under one identity, on disk.

    Rows lie in the order of the batch plan, so that a chunk is written once and never read back to be
    completed. A chunk counts as done when its marker exists, which is written after all its arrays;
    every array chunk carries a CRC-32C. A killed run therefore resumes at the first chunk without a
    marker, forms the same batches, and ends in the same bytes.

    Use `create` (or resume) and `open`.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self._manifest = manifest
        self._group = zarr.open_group(str(folder), mode="r+")
        self._order = np.array(manifest["order"], dtype=np.int64)
        self._starts = np.concatenate([[0], np.cumsum(manifest["chunk_rows"])]).astype(int)

    @classmethod
    def create(
        cls,
        folder: Path,
        ids: tuple[str, ...],
        blocks: Sequence[Block],
        arrays: Sequence[SignalArray],
        plan: BatchPlan,
        identity: dict[str, Any],
        *,
        restart: bool = False,
    ) -> SignalStore:
        """Makes an empty store, or takes up the one that an interrupted run of the same job left.

        Args:
            folder: where it goes.
            ids: ids of the rows in the order of the data set.
            blocks: blocks whose gradients will be put.
            arrays: the arrays that will be put.
            plan: order, chunks and batches.
            identity: what the signals are made from: model, adapter, template, rows …
            restart: throw away what is there.

        Raises:
            IdentityError: the folder holds signals of something else.
            StoreError: the disk cannot hold the store, or the folder is not ours.
        """
        chunk_rows = [sum(len(batch) for batch in chunk) for chunk in plan.chunks]
        manifest = {
            "format": FORMAT,
            "identity": identity,
            "plan": plan.digest(),
            "ids": list(ids),
            "order": plan.order.tolist(),
            "chunk_rows": chunk_rows,
            "blocks": [[block.name, list(block.shape)] for block in blocks],
            "arrays": [[array.name, list(array.shape), array.dtype] for array in arrays],
        }
        if restart and folder.exists():
            remove_ours(folder)
        if (folder / _MANIFEST).is_file():
            existing = cls.open(folder, finished=False)
            require_same(
                _flat(existing._manifest),
                _flat(manifest),
                f"the store {folder}",
                "this job",
                "Use --restart to replace the store, or another --out.",
            )
            return existing
        if folder.exists():
            remove_ours(folder)
        needed = len(ids) * sum(array.row_bytes for array in arrays)
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if needed > 0.95 * free:
            raise StoreError(
                f"{folder} would take {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free. Choose "
                "another disk with --out, fewer rows, or fewer blocks with --blocks."
            )
        folder.mkdir()
        mark_ours(folder)
        group = zarr.create_group(str(folder), overwrite=False)
        rows = max(chunk_rows, default=1)
        for array in arrays:
            group.create_array(
                array.name,
                shape=(len(ids), *array.shape),
                chunks=(rows, *(max(1, n) for n in array.shape)),
                dtype=array.dtype,
                compressors=[Crc32cCodec()],
                fill_value=0,
            )
        (folder / "done").mkdir()
        write_json(folder / _MANIFEST, manifest)
        return cls(folder, manifest)

    @classmethod
    def open(cls, folder: Path, *, finished: bool = True) -> SignalStore:
        """Opens a store that exists.

        Raises:
            StoreError: there is none, it is of another format, or (with `finished`) not complete.
        """
        path = folder / _MANIFEST
        if not path.is_file():
            raise StoreError(f"{folder}: no signals here. Run `wherefrom index` first.")
        with _damage_told(folder):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            if manifest["format"] != FORMAT:
                raise StoreError(
                    f"{folder}: store format {manifest['format']}, this version reads {FORMAT}. Index "
                    "again with --restart."
                )
            store = cls(folder, manifest)
            missing = len(store.missing())
        if finished and missing:
            done = len(manifest["chunk_rows"]) - missing
            raise StoreError(
                f"{folder}: only {done} of {len(manifest['chunk_rows'])} chunks are done. Run the same "
                "`wherefrom index` again; it goes on where it stopped."
            )
        return store

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows, in the order of the data set."""
        return tuple(self._manifest["ids"])

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose gradients are stored."""
        return tuple(Block(name, tuple(shape)) for name, shape in self._manifest["blocks"])

    @property
    def identity(self) -> dict[str, Any]:
        """What the signals were made from."""
        return dict(self._manifest["identity"])

    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(name for name, _, _ in self._manifest["arrays"])

    def missing(self) -> Sequence[int]:
        """Chunks that have not been put yet."""
        done = {path.name for path in (self.folder / "done").iterdir()}
        return [i for i in range(len(self._manifest["chunk_rows"])) if f"{i:06d}" not in done]

    def put(self, chunk: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes one whole chunk, arrays first, marker last."""
        start, stop = self._starts[chunk], self._starts[chunk + 1]
        for name, values in arrays.items():
            self._array(name)[int(start) : int(stop)] = values
        write_text(self.folder / "done" / f"{chunk:06d}", "")

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape, rows in the order of the data set.

        Raises:
            StoreError: the array or a chunk is not there, or a chunk's checksum does not hold.
        """
        with _damage_told(self.folder):
            stored = np.asarray(self._whole(name)[:])
        values = np.empty_like(stored)
        values[self._order] = stored
        return values

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array a stored chunk at a time: row numbers, and their values.

        Raises:
            StoreError: as `read`.
        """
        with _damage_told(self.folder):
            array = self._whole(name)
        for start, stop in zip(self._starts, self._starts[1:], strict=False):
            with _damage_told(self.folder):
                values = np.asarray(array[int(start) : int(stop)])
            yield self._order[start:stop], values

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays together, a stored chunk at a time: row numbers, and values by name.

        Raises:
            StoreError: as `read`.
        """
        with _damage_told(self.folder):
            arrays = {name: self._whole(name) for name in names}
        for start, stop in zip(self._starts, self._starts[1:], strict=False):
            at = slice(int(start), int(stop))
            with _damage_told(self.folder):
                found = {name: np.asarray(array[at]) for name, array in arrays.items()}
            yield self._order[start:stop], found

    def _whole(self, name: str) -> zarr.Array[Any]:
        array = self._array(name)
        if array.nchunks_initialized != array.nchunks:
            raise ValueError(f"chunks of {name} are missing")
        return array

    def _array(self, name: str) -> zarr.Array[Any]:
        if name not in self.names():
            raise StoreError(
                f"{self.folder}: holds no {name}; it has {', '.join(self.names()[:6])} …"
            )
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        # a chunk of zeros is written too, so that one which is not there is known to be lost
        return array.with_config({"write_empty_chunks": True})


@contextmanager
def _damage_told(folder: Path) -> Iterator[None]:
    """Turns what a damaged store raises anywhere below into one error with the way out."""
    try:
        yield
    except WherefromError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StoreError(f"{folder}: damaged ({reason}). Index again with --restart.") from None


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    """Identity entries, and digests in place of what is too long to print."""
    return {
        **manifest["identity"],
        "batch plan": manifest["plan"],
        "number of rows": len(manifest["ids"]),
        "signals": len(manifest["arrays"]),
        "format": manifest["format"],
    }
