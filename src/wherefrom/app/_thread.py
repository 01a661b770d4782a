"""The model's thread: what needs the model waits its turn there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, TypeVar

Result = TypeVar("Result")
Tell = Callable[[Any], bool]
"""Passes something on; says whether anybody is still listening."""
_END = object()


class ModelThread:
    """One thread, so that one question is worked on at a time and the event loop never waits for it."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._closed = Event()

    async def run(self, work: Callable[[], Result]) -> Result:
        """Result of `work`, after what came before it."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def wait_for(self, work: Callable[[], Result]) -> Result:
        """The same, for whoever has nothing else to do."""
        return self._pool.submit(work).result()

    async def stream(self, work: Callable[[Tell], None]) -> AsyncIterator[Any]:
        """What `work` tells while it is at it; it is told when nobody listens any more."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Any] = asyncio.Queue()
        left = Event()

        def tell(item: Any) -> bool:
            loop.call_soon_threadsafe(queue.put_nowait, item)
            return not (left.is_set() or self._closed.is_set())

        def job() -> None:
            try:
                if not left.is_set():
                    work(tell)
            finally:
                if not loop.is_closed():
                    loop.call_soon_threadsafe(queue.put_nowait, _END)

        done = loop.run_in_executor(self._pool, job)
        try:
            while (item := await queue.get()) is not _END:
                yield item
            await done
        finally:
            left.set()

    def close(self) -> None:
        """Stops what is going on as soon as it may be stopped; nothing new is begun."""
        self._closed.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
