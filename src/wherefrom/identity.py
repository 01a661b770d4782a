"""What a thing *is*, as a short digest: values, arrays, files and models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from wherefrom.errors import IdentityError


def digest_value(value: Any) -> str:
    """Digest of a JSON value; independent of key order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return xxhash.xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass"))


def digest_arrays(arrays: Iterable[tuple[str, np.ndarray]]) -> str:
    """Digest of named arrays: name, dtype, shape and bytes of each, in the order given."""
    state = xxhash.xxh3_128()
    for name, array in arrays:
        state.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        state.update(np.ascontiguousarray(array).view(np.uint8).data)
    return state.hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, for what comes from outside and must be the very bytes we expect."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require_same(
    left: dict[str, Any], right: dict[str, Any], left_name: str, right_name: str, fix: str
) -> None:
    """Refuses two identities that differ, printing both sides of every difference.

    Raises:
        IdentityError: some entry differs or is missing on one side.
    """
    differing = [key for key in sorted({*left, *right}) if left.get(key) != right.get(key)]
    if differing:
        lines = [
            f"  {key}: {left_name} has {left.get(key)!r}, {right_name} has {right.get(key)!r}"
            for key in differing
        ]
        raise IdentityError(
            f"{left_name} and {right_name} do not belong together:\n"
            + "\n".join(lines)
            + f"\n{fix}"
        )
