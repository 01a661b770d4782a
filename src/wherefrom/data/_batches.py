"""Batch plans: which rows go through the model together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.data._render import TokenRow
from wherefrom.identity import digest_value


@dataclass(frozen=True)
class BatchPlan:
    """Rows sorted by length, cut into chunks that are stored whole, and chunks into batches.

    The plan depends on the rows' lengths and on nothing else, so a resumed run forms the very batches
    that an undisturbed one would.

    Attributes:
        order: row numbers in the order in which they are run and stored.
        chunks: of each chunk, its batches; of each batch, positions in `order`.
    """

    order: np.ndarray
    chunks: tuple[tuple[range, ...], ...]

    def digest(self) -> str:
        """Digest of order and cuts."""
        cuts = [[[b.start, b.stop] for b in chunk] for chunk in self.chunks]
        return digest_value([self.order.tolist(), cuts])


def plan_batches(
    rows: Sequence[TokenRow], batch_tokens: int = 512, chunk_rows: int = 64
) -> BatchPlan:
    """Plans batches that waste few pads and stay under a token budget.

    Args:
        rows: what is to be run.
        batch_tokens: most tokens of a batch, pads counted; a longer row is a batch of its own.
        chunk_rows: rows of a stored chunk.
    """
    lengths = np.array([len(row.ids) for row in rows], dtype=np.int64)
    order = np.lexsort((np.arange(len(rows)), lengths))
    chunks = []
    for start in range(0, len(rows), chunk_rows):
        stop = min(start + chunk_rows, len(rows))
        batches, first = [], start
        for position in range(start, stop):
            longest = int(lengths[order[position]])
            if position > first and (position - first + 1) * longest > batch_tokens:
                batches.append(range(first, position))
                first = position
        batches.append(range(first, stop))
        chunks.append(tuple(batches))
    return BatchPlan(order, tuple(chunks))
