"""The signal store: one Zarr v3 group, one manifest, chunks that are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from wherefrom.atomic import (
    drop_partials,
    mark_ours,
    remove_ours,
    write_bytes,
    write_json,
    write_text,
)
from wherefrom.data import BatchPlan
from wherefrom.errors import StoreError, WherefromError
from wherefrom.identity import digest_value, require_same
from wherefrom.place import Place, names_in
from wherefrom.signals import Block, SignalArray
from wherefrom.store._ahead import ahead
from wherefrom.store._buffers import Buffers
from wherefrom.store._shard import Shard, checked, shards_of
from wherefrom.store._space import require_space

FORMAT = 2
_MANIFEST = "manifest.json"
_IDS = "ids.json"
_ORDER = "order"
_DONE = "done"


class SignalStore:
    """Signals of one data set under one identity, in a folder on this machine or behind an fsspec URL.

    Rows lie in the order of the batch plan, so that a chunk is written once and never read back to be
    completed. A chunk counts as done when its marker exists, which is written after all its arrays;
    every array of a chunk carries a CRC-32C. A killed run therefore resumes at the first chunk without a
    marker, forms the same batches, and ends in the same bytes. Several processes may put chunks of one
    store at the same time, each its own.

    Use `create` (or resume) and `open`.
    """

    def __init__(self, folder: Place, manifest: dict[str, Any]) -> None:
        self.folder = folder
        self._manifest = manifest
        self._rows: int = manifest["rows"]
        self._chunk_rows: int = manifest["chunk_rows"]
        arrays = [
            SignalArray(name, tuple(shape), dtype, half)
            for name, shape, dtype, half in manifest["arrays"]
        ]
        self._names = tuple(array.name for array in arrays)
        self._shards = shards_of(arrays, self._chunk_rows)
        self._at = {n: (s, i) for s in self._shards for i, n in enumerate(s.names)}

    @classmethod
    def create(
        cls,
        folder: Place,
        ids: tuple[str, ...],
        blocks: Sequence[Block],
        arrays: Sequence[SignalArray],
        plan: BatchPlan,
        identity: dict[str, Any],
        *,
        restart: bool = False,
    ) -> SignalStore:
        """Makes an empty store, or takes up the one that is there: of an interrupted run of the same job,
        or of another process that is at the same job now.

        Where several processes call it, one must have returned before the others begin, and only that
        one may be told to restart.

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
        sizes = [sum(len(batch) for batch in chunk) for chunk in plan.chunks]
        rows = max(sizes, default=1)
        if any(size != rows for size in sizes[:-1]):
            raise ValueError("all chunks of a plan but the last must have the same number of rows")
        manifest = {
            "format": FORMAT,
            "identity": identity,
            "plan": plan.digest(),
            "ids": digest_value(list(ids)),
            "rows": len(ids),
            "chunk_rows": rows,
            "blocks": [[block.name, list(block.shape)] for block in blocks],
            "arrays": [[a.name, list(a.shape), a.dtype, a.half] for a in arrays],
        }
        if restart and folder.exists():
            remove_ours(folder)
        store = cls(folder, manifest)
        if (folder / _MANIFEST).is_file():
            existing = cls.open(folder, finished=False)
            require_same(
                _flat(existing._manifest),
                _flat(manifest),
                f"the store {folder}",
                "this job",
                "Use --restart to replace the store, or another --out.",
            )
            if existing.missing():
                require_space(folder, store._bytes)
            return existing
        if folder.exists():
            remove_ours(folder)
        require_space(folder, store._bytes)
        store._make(ids, plan.order)
        return store

    @classmethod
    def open(cls, folder: Place, *, finished: bool = True) -> SignalStore:
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
            done = store._chunks - missing
            raise StoreError(
                f"{folder}: only {done} of {store._chunks} chunks are done. Run the same "
                "`wherefrom index` again; it goes on where it stopped."
            )
        return store

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows, in the order of the data set."""
        with _damage_told(self.folder):
            return tuple(json.loads((self.folder / _IDS).read_text(encoding="utf-8")))

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
        return self._names

    def missing(self) -> Sequence[int]:
        """Chunks that nobody has put yet."""
        done = names_in(self.folder / _DONE)
        return [chunk for chunk in range(self._chunks) if _marker(chunk) not in done]

    def put(self, chunk: int, arrays: dict[str, np.ndarray]) -> None:
        """Writes one whole chunk, arrays first, marker last.

        Raises:
            StoreError: the disk is full, or the place cannot be reached.
            NonFiniteError: an array that is stored in half precision holds NaN or Inf.
        """
        wanted = {n: (self._count(chunk), *shard.shape) for n, (shard, _) in self._at.items()}
        given = {name: values.shape for name, values in arrays.items()}
        if given != wanted:
            raise ValueError(f"chunk {chunk} must be {wanted}, not {given}")
        try:
            for shard in self._shards:
                if shard.size:
                    path = shard.path(self.folder, chunk)
                    if isinstance(path, Path):
                        drop_partials(path)
                    write_bytes(path, shard.pack([arrays[name] for name in shard.names]))
            marker = self.folder / _DONE / _marker(chunk)
            if isinstance(marker, Path):
                marker.touch()
            else:
                write_bytes(marker, b"")
        except OSError as error:
            raise StoreError(
                f"{self.folder}: chunk {chunk} could not be written ({error.strerror or error}). Run the "
                "same command again when there is space and nobody else writes it; it goes on here."
            ) from None

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape, rows in the order of the data set.

        Raises:
            StoreError: the array or a chunk is not there, or a chunk's checksum does not hold.
        """
        shard, place = self._held(name)
        found = np.empty((self._rows, *shard.shape), shard.dtype)
        buffers = Buffers()

        def load(chunk: int) -> None:
            found[self._numbers(chunk)] = self._part(shard, chunk, place, 1, buffers)[0]

        for _ in ahead(load, range(self._chunks), shard.section, waits=self._remote):
            pass
        return found

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array a stored chunk at a time: row numbers, and their values.

        Raises:
            StoreError: as `read`.
        """
        for rows, found in self.chunks([name]):
            yield rows, found[name]

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays together, a stored chunk at a time: row numbers, and values by name.

        Later chunks are read while the caller works on one, by a few threads.

        Raises:
            StoreError: as `read`.
        """
        held = [self._held(name) for name in names]
        runs, buffers = _runs(held), Buffers()
        each = self._chunk_rows * sum(
            shard.size * np.dtype(shard.dtype).itemsize for shard, _ in held
        )

        def load(chunk: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
            found: dict[str, np.ndarray] = {}
            for shard, first, many in runs:
                values = self._part(shard, chunk, first, many, buffers)
                found |= zip(shard.names[first : first + many], values, strict=True)
            return self._numbers(chunk), {name: found[name] for name in names}

        yield from ahead(load, range(self._chunks), each, waits=self._remote)

    @property
    def _chunks(self) -> int:
        return -(-self._rows // self._chunk_rows)

    @property
    def _bytes(self) -> int:
        return self._chunks * sum(shard.file_bytes for shard in self._shards)

    @property
    def _remote(self) -> bool:
        return not isinstance(self.folder, Path)

    def _count(self, chunk: int) -> int:
        return min(self._chunk_rows, self._rows - chunk * self._chunk_rows)

    def _numbers(self, chunk: int) -> np.ndarray:
        start = chunk * self._chunk_rows
        return self._order[start : start + self._chunk_rows]

    @cached_property
    def _order(self) -> np.ndarray:
        if not self._rows:
            return np.zeros(0, np.int64)
        with _damage_told(self.folder):
            raw = (self.folder / _ORDER / "c" / "0").read_bytes()
            return checked(np.frombuffer(raw, np.uint8), "the order of rows").view("<i8")

    def _make(self, ids: tuple[str, ...], order: np.ndarray) -> None:
        if isinstance(self.folder, Path):
            self.folder.mkdir(parents=True)
        mark_ours(self.folder)
        files: dict[str, Buffer] = {}
        group = zarr.create_group(MemoryStore(files))
        for shard in self._shards:
            shard.create(group, self._rows)
        group.create_array(
            _ORDER,
            data=order.astype("<i8"),
            chunks=(max(1, len(order)),),
            compressors=[Crc32cCodec()],
            fill_value=-1,
        )
        for key, data in files.items():
            write_bytes(self.folder / key, data.to_bytes())
        if isinstance(self.folder, Path):
            (self.folder / _DONE).mkdir()
        write_text(self.folder / _IDS, json.dumps(ids))
        write_json(self.folder / _MANIFEST, self._manifest)

    def _held(self, name: str) -> tuple[Shard, int]:
        if name not in self._at:
            raise StoreError(
                f"{self.folder}: holds no {name}; it has {', '.join(self._names[:6])} …"
            )
        return self._at[name]

    def _part(
        self, shard: Shard, chunk: int, first: int, many: int, buffers: Buffers
    ) -> np.ndarray:
        with _damage_told(self.folder):
            try:
                path = shard.path(self.folder, chunk)
                return shard.read(path, first, many, self._count(chunk), buffers)
            except FileNotFoundError:
                raise ValueError(f"chunk {chunk} of {shard.names[first]} is missing") from None


@contextmanager
def _damage_told(folder: Place) -> Iterator[None]:
    """Turns what a damaged store raises anywhere below into one error with the way out."""
    try:
        yield
    except WherefromError:
        raise
    except (PermissionError, ConnectionError, TimeoutError) as error:
        raise StoreError(f"{folder}: cannot be read ({error}). Run it again when it can.") from None
    except (ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise StoreError(f"{folder}: damaged ({reason}). Index again with --restart.") from None


def _runs(held: Sequence[tuple[Shard, int]]) -> list[tuple[Shard, int, int]]:
    """Neighbours of a shard put together, so that they are read at once: shard, first, how many."""
    runs: list[tuple[Shard, int, int]] = []
    for shard in dict.fromkeys(shard for shard, _ in held):
        for number in sorted({i for other, i in held if other is shard}):
            if runs and runs[-1][0] is shard and sum(runs[-1][1:]) == number:
                runs[-1] = (shard, runs[-1][1], runs[-1][2] + 1)
            else:
                runs.append((shard, number, 1))
    return runs


def _marker(chunk: int) -> str:
    return f"{chunk:06d}"


def _flat(manifest: dict[str, Any]) -> dict[str, Any]:
    """Identity entries, and digests in place of what is too long to print."""
    return {
        **manifest["identity"],
        "batch plan": manifest["plan"],
        "ids": manifest["ids"],
        "number of rows": manifest["rows"],
        "signals": len(manifest["arrays"]),
        "arrays": digest_value(manifest["arrays"]),
        "half precision": any(half for *_, half in manifest["arrays"]),
        "format": manifest["format"],
    }
