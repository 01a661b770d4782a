"""Signals kept in memory: for a few queries, and for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wherefrom.signals._signals import Block, SignalArray


class MemorySignals:
    """A sink and source that holds every array in memory.

    Args:
        ids: ids of the rows in the order of the data set.
        blocks: blocks whose gradients will be put.
        arrays: the arrays that will be put.
        order: row numbers in the order of the plan.
        chunk_rows: for each chunk, how many rows it has.
        identity: what the signals are made from.
    """

    def __init__(
        self,
        ids: tuple[str, ...],
        blocks: tuple[Block, ...],
        arrays: Sequence[SignalArray],
        order: np.ndarray,
        chunk_rows: Sequence[int],
        identity: dict[str, Any],
    ) -> None:
        self.ids = ids
        self.blocks = blocks
        self.identity = identity
        self._order = order
        self._starts = np.concatenate([[0], np.cumsum(chunk_rows)]).astype(int)
        self._arrays = {a.name: np.zeros((len(ids), *a.shape), a.dtype) for a in arrays}
        self._missing = list(range(len(chunk_rows)))

    def missing(self) -> Sequence[int]:
        """Chunks that have not been put yet."""
        return tuple(self._missing)

    def put(self, chunk: int, arrays: dict[str, np.ndarray]) -> None:
        """Takes one whole chunk."""
        rows = self._order[self._starts[chunk] : self._starts[chunk + 1]]
        for name, values in arrays.items():
            self._arrays[name][rows] = values
        self._missing.remove(chunk)

    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self._arrays)

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape, rows in the order of the data set."""
        return self._arrays[name]

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array a chunk at a time: row numbers, and their values."""
        values = self.read(name)
        for start, stop in zip(self._starts, self._starts[1:], strict=False):
            rows = self._order[start:stop]
            yield rows, values[rows]

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays together, a chunk of rows at a time: row numbers, and values by name."""
        for start, stop in zip(self._starts, self._starts[1:], strict=False):
            rows = self._order[start:stop]
            yield rows, {name: self._arrays[name][rows] for name in names}
