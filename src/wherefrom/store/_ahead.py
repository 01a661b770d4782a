"""Reading ahead: what comes next is loaded while the caller works on what came last."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

_BUDGET = 128e6
"""Bytes that are held ahead of the caller; one piece more where pieces are larger."""
_MOST, _MOST_REMOTE = 3, 8
_TOGETHER = 4e6
"""Bytes that a thread is sent for at once: handing over smaller pieces would cost more than loading."""

Item = TypeVar("Item")
Found = TypeVar("Found")


def ahead(
    load: Callable[[Item], Found], items: Sequence[Item], each: int, *, waits: bool
) -> Iterator[Found]:
    """What `load` makes of every item, in order.

    Args:
        load: called in threads.
        items: what it is called with.
        each: bytes that one piece takes in memory.
        waits: whether loading mostly waits for a network, so that more threads than processors help.
    """
    each = max(1, each)
    together = 1 if waits else int(max(1, _TOGETHER // each))
    if len(items) <= together:
        # a thread would be sent once, for everything, and waited for
        yield from map(load, items)
        return
    most = _MOST_REMOTE if waits else _MOST
    depth = int(min(most, max(1, _BUDGET // (each * together))))
    threads = depth if waits else min(depth, os.cpu_count() or 1)
    waiting: deque[Future[list[Found]]] = deque()

    def several(some: Sequence[Item]) -> list[Found]:
        return [load(item) for item in some]

    with ThreadPoolExecutor(threads, "wherefrom-read", initializer=_alone) as pool:
        try:
            for start in range(0, len(items), together):
                waiting.append(pool.submit(several, items[start : start + together]))
                if len(waiting) > depth:
                    yield from _given_up(waiting.popleft().result())
            while waiting:
                yield from _given_up(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()


def _alone() -> None:
    """Keeps a reading thread from starting threads of its own, which would wait for each other spinning."""
    # torch sets a thread's number of threads at its first call: after that it can be set to one
    torch.get_num_threads()
    threadpool_limits(1, "openmp")


def _given_up(pieces: list[Found]) -> Iterator[Found]:
    """The pieces in order, none of which is held on to after it was given."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()
