"""One chunk of several arrays in one file: a shard of Zarr v3, read whole or a section at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import google_crc32c
import numpy as np
import zarr
from zarr.codecs import Crc32cCodec

from wherefrom.place import Place, read_part
from wherefrom.signals import SignalArray
from wherefrom.store._buffers import Buffers
from wherefrom.store._half import HalfCodec, decode_half, encode_half, half_bytes

_CHECK = 4


@dataclass(frozen=True)
class Shard:
    """Arrays of one shape and type, which are one Zarr array: rows × arrays × shape.

    A file holds a chunk of rows: for each array a section with its own CRC-32C, then Zarr's index of them.
    All sections are of one length, so that any of them is found without the index and many are decoded
    in one call; zarr's own pipeline takes some thirty times as long (benchmarks/store.py) and is left for
    making the metadata. Whatever reads Zarr v3 reads these files.

    Attributes:
        names: of the arrays.
        shape: of one row.
        dtype: what rows are.
        half: whether they are stored in half precision.
        rows: of a full chunk.
    """

    names: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    half: bool
    rows: int

    @cached_property
    def name(self) -> str:
        """Of the Zarr array."""
        kind = "half" if self.half else self.dtype
        return f"{kind}-{'x'.join(map(str, self.shape)) or 'number'}"

    @cached_property
    def size(self) -> int:
        """Entries of a row."""
        return prod(self.shape)

    @cached_property
    def section(self) -> int:
        """Bytes of one array's part of a file, its checksum included."""
        if self.half:
            return half_bytes(self.rows, self.size) + _CHECK
        return self.rows * self.size * np.dtype(self.dtype).itemsize + _CHECK

    @cached_property
    def file_bytes(self) -> int:
        """Bytes of a file; nothing is stored of rows without entries."""
        return len(self.names) * self.section + len(self._index) if self.size else 0

    def create(self, group: zarr.Group, rows: int) -> None:
        """Makes the Zarr array, for `rows` rows in all."""
        tail = tuple(max(1, n) for n in self.shape)
        group.create_array(
            self.name,
            shape=(rows, len(self.names), *self.shape),
            chunks=(self.rows, 1, *tail),
            shards=(self.rows, len(self.names), *tail),
            dtype=self.dtype,
            serializer=HalfCodec() if self.half else "auto",
            compressors=[Crc32cCodec()],
            fill_value=0,
            attributes={"names": list(self.names)},
        )

    def path(self, folder: Place, chunk: int) -> Place:
        """Where a chunk lies, in the folder of the store."""
        return folder / f"{self.name}/c/{chunk}{self._tail}"

    def pack(self, arrays: Sequence[np.ndarray]) -> bytearray:
        """The file of a chunk, from the rows of every array in the order of `names`."""
        whole = bytearray(self.file_bytes)
        buffer = np.frombuffer(whole, np.uint8)
        for number, values in enumerate(arrays):
            section = buffer[number * self.section : (number + 1) * self.section]
            body = section[:-_CHECK]
            # a copy of what must not be written to, which torch minds
            flat = np.require(values, np.dtype(self.dtype).newbyteorder("<"), ["C", "W"])
            if len(flat) < self.rows:
                # Zarr wants the last chunk as long as the others
                flat = np.concatenate(
                    [flat, np.zeros((self.rows - len(flat), *self.shape), flat.dtype)]
                )
            flat = flat.reshape(self.rows, self.size)
            if self.half:
                encode_half(flat, body)
            else:
                body[:] = flat.reshape(-1).view(np.uint8)
            section[-_CHECK:] = _checksum(body)
        buffer[len(arrays) * self.section :] = self._index
        return whole

    def read(self, path: Place, first: int, many: int, rows: int, buffers: Buffers) -> np.ndarray:
        """Neighbouring arrays' rows of a chunk: arrays × rows × shape.

        Args:
            path: the file.
            first: place of the first array in `names`.
            many: how many arrays.
            rows: how many rows the chunk has.
            buffers: memory for it.

        Raises:
            ValueError: a checksum does not hold, or the file is cut short.
        """
        if not self.size:
            return np.zeros((many, rows, *self.shape), self.dtype)
        whole = many == len(self.names)
        length = self.file_bytes if whole else many * self.section
        raw = buffers.take(length)
        read_part(path, first * self.section, raw)
        sections = raw[: many * self.section].reshape(many, self.section)
        for number in _broken(sections):
            raise ValueError(f"the checksum of {self.names[first + number]} does not hold")
        if whole and not np.array_equal(raw[many * self.section :], self._index):
            raise ValueError(f"the index of {path.name} does not hold")
        if self.half:
            found = buffers.take(4 * many * self.rows * self.size).view(np.float32)
            found = found.reshape(many, self.rows, self.size)
            decode_half(sections, found)
        else:
            found = _aligned(sections[:, :-_CHECK], np.dtype(self.dtype).newbyteorder("<"))
        return found.reshape(many, self.rows, *self.shape)[:, :rows]

    @cached_property
    def _tail(self) -> str:
        return "/0" * (1 + len(self.shape))

    @cached_property
    def _index(self) -> np.ndarray:
        """Zarr's index at the end of a shard: offset and length of every section, and a checksum."""
        starts = np.arange(len(self.names), dtype="<u8") * self.section
        pairs = np.stack([starts, np.full_like(starts, self.section)], 1)
        body = pairs.reshape(-1).view(np.uint8)
        return np.concatenate([body, _checksum(body)])


def shards_of(arrays: Sequence[SignalArray], rows: int) -> list[Shard]:
    """Arrays put together by shape and type, in the order in which these come first."""
    groups: dict[tuple[tuple[int, ...], str, bool], list[str]] = {}
    for array in arrays:
        groups.setdefault((array.shape, array.dtype, array.half), []).append(array.name)
    return [
        Shard(tuple(names), shape, dtype, half, rows)
        for (shape, dtype, half), names in groups.items()
    ]


def checked(raw: np.ndarray, name: str) -> np.ndarray:
    """The bytes before a CRC-32C.

    Raises:
        ValueError: it does not hold.
    """
    if len(raw) < _CHECK or _broken(raw[None]):
        raise ValueError(f"the checksum of {name} does not hold")
    return raw[:-_CHECK]


def _broken(sections: np.ndarray) -> list[int]:
    """Sections (sections × bytes) whose CRC-32C at their end does not hold."""
    stored = sections[:, -_CHECK:].copy().view("<u4")[:, 0].tolist()
    found = [google_crc32c.value(section) for section in sections[:, :-_CHECK]]
    if stored == found:
        return []
    return [i for i, pair in enumerate(zip(stored, found, strict=True)) if pair[0] != pair[1]]


def _checksum(body: np.ndarray) -> np.ndarray:
    return np.array([google_crc32c.value(body)], "<u4").view(np.uint8)


def _aligned(sections: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Bytes of sections as numbers; copied only where they do not lie as the processor wants them."""
    found = sections.view(dtype)
    return found if found.flags.aligned else found.copy()
