"""Seconds that methods take, and those of the work that they share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARED = "shared: reading gradients, Gram matrices, eigendecompositions"


class Clock:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def add(self, other: Clock) -> None:
        """Adds another's seconds, name by name."""
        for name, seconds in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Adds the time that the block takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun
