"""Independent work side by side: a worker for every thread that linear algebra may use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_info, threadpool_limits

_IN_FLIGHT = 4e9
"""Bytes that calls side by side may hold; a single one holds what it must."""
_SMALL = 1e6
"""Bytes below which a call is done before a thread has taken it up."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def workers() -> int:
    """How many threads linear algebra was given: all cores, or what OMP_NUM_THREADS says."""
    return max((p["num_threads"] for p in threadpool_info() if p["user_api"] == "blas"), default=1)


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], each: float = 0.0
) -> Iterator[Result]:
    """Results in the order of the items; no more of them in flight than there are workers.

    Decompositions of a block's size use two threads badly and two of them use two threads well, so each
    worker gets one thread of linear algebra. Products and decompositions let other threads run.

    Args:
        work: called in threads.
        items: what it is called with.
        each: bytes that one call holds, 0 where nobody knows; where several would take too much, there are
            fewer workers.
    """
    count = min(len(items), int(_IN_FLIGHT // max(each, 1.0)))
    # asking the libraries how many threads they have takes longer than such calls do
    count = 1 if 0 < each < _SMALL else min(count, workers())
    if count < 2:
        yield from map(work, items)
        return
    pending: deque[Future[Result]] = deque()
    with threadpool_limits(1):
        pool = ThreadPoolExecutor(count)
        try:
            for item in items:
                if len(pending) == count:
                    yield pending.popleft().result()
                pending.append(pool.submit(work, item))
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
