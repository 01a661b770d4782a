"""The outermost rows of scores that come by a few rows at a time."""

from __future__ import annotations

import numpy as np

_SPARE = 65_536
"""Candidates that are gathered before they are sorted."""


class Outermost:
    """The k rows with the highest scores of each query (or the lowest), in whatever order rows come.

    Args:
        queries: how many.
        k: how many rows are kept for each.
        tiebreaks: of all training rows; see `tiebreaks`.
        lowest: keep the lowest scores.
    """

    def __init__(
        self, queries: int, k: int, tiebreaks: np.ndarray, *, lowest: bool = False
    ) -> None:
        self._k = k
        self._tiebreaks = tiebreaks
        self._lowest = lowest
        self._queries = queries
        worst = np.inf if lowest else -np.inf
        self._least = np.full(queries, worst, np.float32)
        self._held = [_nothing()]
        self._count = 0

    def add(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Takes the scores of some rows, each row once in all.

        Args:
            rows: their positions, (rows,).
            values: float32, rows × queries.
        """
        least = self._least
        if len(rows) > self._k and not np.isfinite(least).all():
            # the first rows would all be candidates; the k-th of them bounds what can be kept
            at = self._k - 1 if self._lowest else len(rows) - self._k
            own = np.partition(values, at, axis=0)[at]
            least = np.minimum(least, own) if self._lowest else np.maximum(least, own)
        found = values <= least if self._lowest else values >= least
        row, query = np.nonzero(found)
        if len(row):
            self._put((query, rows[row], values[row, query]))

    def merge(self, other: Outermost) -> None:
        """Takes what another kept of other rows."""
        for held in other._held:
            self._put(held)

    def ranked(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores, queries × k each (fewer where there were fewer rows), outermost first."""
        self._sort()
        query, rows, values = self._held[0]
        kept = len(query) // self._queries if self._queries else 0
        return rows.reshape(self._queries, kept), values.reshape(self._queries, kept)

    def _put(self, held: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        self._held.append(held)
        self._count += len(held[0])
        if self._count > self._queries * self._k + _SPARE:
            self._sort()

    def _sort(self) -> None:
        query, rows, values = (np.concatenate(parts) for parts in zip(*self._held, strict=True))
        order = np.lexsort((self._tiebreaks[rows], values if self._lowest else -values, query))
        query, rows, values = query[order], rows[order], values[order]
        starts = np.searchsorted(query, np.arange(self._queries + 1))
        kept = np.arange(len(query)) - starts[query] < self._k
        full = np.flatnonzero(np.diff(starts) >= self._k)
        self._least[full] = values[starts[full] + self._k - 1]
        self._held = [(query[kept], rows[kept], values[kept])]
        self._count = int(kept.sum())


def _nothing() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
