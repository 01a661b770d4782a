"""Which rows a check looks at where it cannot look at all: the same ones, however they are ordered."""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

from wherefrom.data import Example, TokenRow


def sampled(rows: Sequence[Example], most: int, seed: int = 0) -> list[int]:
    """Row numbers of at most `most` rows, drawn by a digest of their ids.

    Args:
        rows: of which to draw.
        most: how many.
        seed: which draw.

    Returns:
        In the order of the digest, which is no order of the file.
    """
    ids = [row.id.encode("utf-8", "surrogatepass") for row in rows]
    keys = [xxhash.xxh3_64_intdigest(one, seed=seed) for one in ids]
    return sorted(range(len(rows)), key=lambda i: (keys[i], ids[i]))[:most]


def whole_rows(rows: Sequence[Example], tokens: Sequence[TokenRow], most: int) -> list[int]:
    """The same of those rows that the length limit left whole."""
    return [i for i in sampled(rows, len(rows)) if not tokens[i].truncated][:most]
