"""Half precision with a scale for every row, as a codec of Zarr v3."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.common import JSON, parse_named_configuration
from zarr.registry import register_codec

from wherefrom.errors import NonFiniteError

if TYPE_CHECKING:
    from typing import Self

    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

_TOP = 15
"""Scaled rows have their largest entry in [2^14, 2^15), a factor of two below float16's own largest."""
_LOWEST = -126
_HIGHEST = 128 - _TOP
_LARGEST = 32752.0
_AT_ONCE = 1 << 17
"""Entries that are converted together, so that they are still in the cache when they are scaled."""


def half_bytes(rows: int, size: int) -> int:
    """Bytes of rows of `size` entries: a float32 scale a row, then all entries as float16."""
    return rows * (4 + 2 * size)


def encode_half(values: np.ndarray, out: np.ndarray) -> None:
    """Writes rows as float16 under scales of their own.

    A scale is a power of two, so it costs no digits: an entry that is at least 2^-28 of its row's largest
    comes back within 2^-11 of itself, and what came back once comes back the same ever after.

    Args:
        values: rows × entries, float32.
        out: (half_bytes,) uint8.

    Raises:
        NonFiniteError: a row holds NaN or Inf.
    """
    rows, size = values.shape
    # torch's arithmetic, since numpy converts halves an entry at a time and is slow along short rows
    largest = torch.from_numpy(values).abs().amax(1).numpy()
    if not np.isfinite(largest).all():
        row = int(np.flatnonzero(~np.isfinite(largest))[0])
        raise NonFiniteError(f"row {row} of a chunk holds NaN or Inf, which has no half precision.")
    exponents = np.maximum(np.frexp(largest)[1] - _TOP, _LOWEST)
    one = np.float32(1)
    scaled = torch.from_numpy(values) * torch.from_numpy(np.ldexp(one, -exponents)[:, None])
    # float16 would round these up to 2^15, and 2^15 times this scale is Inf
    for high in np.flatnonzero(exponents == _HIGHEST).tolist():
        scaled[high].clamp_(-_LARGEST, _LARGEST)
    out[: 4 * rows] = np.ldexp(one, exponents).astype("<f4").view(np.uint8)
    halves = out[4 * rows :].view("<f2").reshape(rows, size)
    torch.from_numpy(halves).copy_(scaled)


def decode_half(sections: np.ndarray, out: np.ndarray) -> None:
    """The inverse of `encode_half`, for several sections of the same length.

    Args:
        sections: sections × bytes, uint8; bytes after a section's own are left alone.
        out: sections × rows × entries, float32.
    """
    many, rows, size = out.shape
    scales = sections[:, : 4 * rows].copy().view("<f4").reshape(many, rows, 1)
    halves = sections[:, 4 * rows : half_bytes(rows, size)].view("<f2").reshape(many, rows, size)
    step = max(1, _AT_ONCE // (rows * size))
    found, half, scale = (torch.from_numpy(array) for array in (out, halves, scales))
    for start in range(0, many, step):
        some = slice(start, start + step)
        found[some].copy_(half[some]).mul_(scale[some])


@dataclass(frozen=True)
class HalfCodec(ArrayBytesCodec):
    """float32 ↔ float16 with a float32 scale for every index of a chunk's first axis.

    Little-endian: the scales of all rows, then their entries. To whoever reads the array it is float32.
    """

    is_fixed_size = True

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """The codec that a zarr.json names."""
        parse_named_configuration(data, NAME, require_configuration=False)
        return cls()

    def to_dict(self) -> dict[str, JSON]:
        """How a zarr.json names it."""
        return {"name": NAME}

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer:
        values = np.require(chunk_data.as_numpy_array(), np.float32, ["C", "W"])
        flat = values.reshape(len(values), -1)
        out = np.empty(half_bytes(*flat.shape), np.uint8)
        encode_half(flat, out)
        return chunk_spec.prototype.buffer.from_array_like(out)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        rows, *rest = chunk_spec.shape
        # a copy, since what zarr has read may be bytes that torch must not be given
        section = np.array(chunk_data.as_numpy_array(), np.uint8)[None]
        found = np.empty((1, rows, prod(rest)), np.float32)
        decode_half(section, found)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(found.reshape(chunk_spec.shape))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Bytes of an encoded chunk."""
        return 4 * chunk_spec.shape[0] + input_byte_length // 2


NAME = "wherefrom.half"
register_codec(NAME, HalfCodec)
