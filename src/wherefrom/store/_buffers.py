"""Memory that is used again: the kernel clears fresh memory first, which takes as long as decoding."""

from __future__ import annotations

import weakref

import numpy as np

_KEPT = 8
"""Buffers of one length that wait to be used again."""


class Buffers:
    """Gives out bytes, and gives them out again when no array that lies in them is left."""

    def __init__(self) -> None:
        self._idle: dict[int, list[np.ndarray]] = {}

    def take(self, length: int) -> np.ndarray:
        """(length,) uint8, of any content."""
        idle = self._idle.setdefault(length, [])
        try:
            memory = idle.pop()
        except IndexError:
            memory = np.empty(length, np.uint8)
        # numpy lets every view of `found` hold `found`, since what it lies in is no array itself
        found = np.frombuffer(memory.data, np.uint8)
        weakref.finalize(found, _give_back, idle, memory).atexit = False
        return found


def _give_back(idle: list[np.ndarray], memory: np.ndarray) -> None:
    if len(idle) < _KEPT:
        idle.append(memory)
