"""Grid: every combination of some lists, made one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class Grid(Generic[Item]):
    """What `make` gives for every combination of one value from each axis.

    Behaves as a read-only sequence, so millions of sentences cost nothing until one is drawn.

    Args:
        make: called with one value from each axis, in order.
        axes: the values to combine.
    """

    def __init__(self, make: Callable[..., Item], *axes: Sequence[Any]) -> None:
        self._make = make
        self._axes = axes

    def __len__(self) -> int:
        return prod(len(axis) for axis in self._axes)

    def __getitem__(self, index: int) -> Item:
        if not 0 <= index < len(self):
            raise IndexError(index)
        values = []
        for axis in reversed(self._axes):
            index, place = divmod(index, len(axis))
            values.append(axis[place])
        return self._make(*reversed(values))
