"""Signals of some of the rows, or under other names of the blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wherefrom.signals._signals import Block, Source


class SomeRows:
    """The signals of a few rows of a source.

    Args:
        source: of all rows.
        rows: which of them, in which order.
        identity: told in place of the source's, where what it says beside model and template differs.
    """

    def __init__(
        self, source: Source, rows: Sequence[int], identity: dict[str, Any] | None = None
    ) -> None:
        self._source = source
        self._identity = source.identity if identity is None else identity
        self._rows = np.asarray(rows, dtype=np.int64)

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows."""
        return tuple(self._source.ids[i] for i in self._rows)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose gradients are there."""
        return self._source.blocks

    @property
    def identity(self) -> dict[str, Any]:
        """What the signals were made from."""
        return self._identity

    def names(self) -> tuple[str, ...]:
        """Names of the arrays that are there."""
        return self._source.names()

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape; never more than a chunk of the others is held."""
        found: np.ndarray | None = None
        place = np.full(len(self._source.ids), -1)
        place[self._rows] = np.arange(len(self._rows))
        for rows, values in self._source.stream(name):
            if found is None:
                found = np.zeros((len(self._rows), *values.shape[1:]), values.dtype)
            here = place[rows] >= 0
            found[place[rows[here]]] = values[here]
        return self._source.read(name)[self._rows] if found is None else found

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array in one piece: row numbers, and their values."""
        yield np.arange(len(self._rows)), self.read(name)

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays in one piece: row numbers, and values by name."""
        yield np.arange(len(self._rows)), {name: self.read(name) for name in names}


class Renamed:
    """The same signals with every block under another name.

    Projections are drawn from a block's name, so that under another name it is another draw.

    Args:
        source: the signals.
        prefix: put before the names of blocks, with a dot.
    """

    def __init__(self, source: Source, prefix: str) -> None:
        self._source = source
        self._prefix = prefix

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows."""
        return self._source.ids

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks under their new names."""
        return tuple(
            replace(block, name=f"{self._prefix}.{block.name}") for block in self._source.blocks
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What the signals were made from."""
        return self._source.identity

    def names(self) -> tuple[str, ...]:
        """Names of the arrays as they were."""
        return self._source.names()

    def read(self, name: str) -> np.ndarray:
        """One array by its new name."""
        return self._source.read(self._old(name))

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array a chunk at a time by its new name."""
        return self._source.stream(self._old(name))

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays together, a chunk of rows at a time, by their new names."""
        for rows, found in self._source.chunks([self._old(name) for name in names]):
            yield rows, {name: found[self._old(name)] for name in names}

    def _old(self, name: str) -> str:
        return name.replace(f"/{self._prefix}.", "/", 1)
