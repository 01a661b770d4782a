"""Signals that stay in memory once they were read, with what was worked out from them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from threading import Lock
from typing import Any

import numpy as np

from wherefrom.signals._signals import Block, Source


class Room:
    """Memory that several sources may fill together.

    Args:
        size: bytes.
    """

    def __init__(self, size: float) -> None:
        self.size = size
        self.used = 0.0
        self._lock = Lock()

    @property
    def left(self) -> float:
        """Bytes that are free."""
        return self.size - self.used

    def take(self, size: float) -> bool:
        """Claims bytes; False where there are not as many."""
        with self._lock:
            if size > self.left:
                return False
            self.used += size
            return True


class Shelf:
    """What is kept of the training rows at one state of the model, whatever kinds of signals they are.

    Args:
        room: memory that may be filled.
    """

    def __init__(self, room: Room) -> None:
        self.room = room
        self.arrays: dict[str, np.ndarray] = {}
        self.found: dict[Hashable, Any] = {}


class KeptSignals:
    """A source that is asked many times: every array is read once, as long as there is room.

    What follows from these rows alone (their products, a decomposition) can be kept beside them.

    Args:
        source: where they are read from; must not change.
        shelf: of these rows and this state; what does not fit is read again each time.
    """

    def __init__(self, source: Source, shelf: Shelf) -> None:
        self._source = source
        self._shelf = shelf

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows."""
        return self._source.ids

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose gradients are there."""
        return self._source.blocks

    @property
    def identity(self) -> dict[str, Any]:
        """What the signals were made from."""
        return self._source.identity

    def names(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return self._source.names()

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape; not to be written to."""
        held = self._shelf.arrays.get(name)
        if held is not None:
            return held
        values = self._source.read(name)
        if self._shelf.room.take(values.nbytes):
            values.setflags(write=False)
            self._shelf.arrays[name] = values
        return values

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array in one piece where it is kept, else a chunk at a time: row numbers, and values."""
        if name in self._shelf.arrays:
            yield np.arange(len(self.ids)), self._shelf.arrays[name]
            return
        yield from self._source.stream(name)

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays together, a chunk of rows at a time: row numbers, and values by name."""
        yield from self._source.chunks(names)

    def worked_out(self, key: Hashable, make: Callable[[], Any], size: float) -> Any:
        """What follows from these rows alone: made once, and kept while there is room.

        Args:
            key: what it is.
            make: makes it.
            size: bytes that it comes to.
        """
        held = self._shelf.found
        if key not in held:
            found = make()
            if not self._shelf.room.take(size):
                return found
            held[key] = found
        return held[key]
