"""Signals of several sets of rows, one after another, read as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wherefrom.identity import digest_value, require_same
from wherefrom.signals._signals import Block, Source


class AppendedSignals:
    """Sources of different rows under the same identity, as one source of all their rows.

    Args:
        sources: at least one, in the order of their rows.

    Raises:
        IdentityError: they were made from different models, templates or settings.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        first = self._sources[0].identity
        for other in self._sources[1:]:
            require_same(
                {key: value for key, value in first.items() if key != "rows"},
                {key: value for key, value in other.identity.items() if key != "rows"},
                "the first queries",
                "queries that were added later",
                "Index again with --restart.",
            )
        self._starts = np.cumsum([0, *(len(source.ids) for source in self._sources)])

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows."""
        return tuple(row for source in self._sources for row in source.ids)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose gradients are there."""
        return self._sources[0].blocks

    @property
    def identity(self) -> dict[str, Any]:
        """What the signals were made from; `rows` is of all rows together."""
        rows = digest_value([source.identity.get("rows") for source in self._sources])
        return {**self._sources[0].identity, "rows": rows}

    def names(self) -> tuple[str, ...]:
        """Names of the arrays that all of them have."""
        others = [set(source.names()) for source in self._sources[1:]]
        return tuple(n for n in self._sources[0].names() if all(n in other for other in others))

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape; token losses of shorter rows are padded with 0."""
        parts = [source.read(name) for source in self._sources]
        longest = tuple(max(part.shape[i] for part in parts) for i in range(1, parts[0].ndim))
        return np.concatenate([_padded(part, longest) for part in parts])

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array a chunk at a time: row numbers, and their values."""
        for start, source in zip(self._starts, self._sources, strict=False):
            for rows, values in source.stream(name):
                yield rows + start, values

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays together, a chunk of rows at a time: row numbers, and values by name."""
        for start, source in zip(self._starts, self._sources, strict=False):
            for rows, found in source.chunks(names):
                yield rows + start, found


def _padded(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    gaps = [(0, size - have) for size, have in zip(shape, values.shape[1:], strict=True)]
    return np.pad(values, [(0, 0), *gaps]) if any(gap for _, gap in gaps) else values
