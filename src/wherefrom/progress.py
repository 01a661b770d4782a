"""Progress of long work, on standard error: a bar for people, a few lines for logs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from wherefrom.safetext import printable
from wherefrom.world import world

Advance = Callable[[int], None]


def say(text: str) -> None:
    """One line to the person at the terminal; never on standard output, which is for results.

    Of several processes only the first one speaks.
    """
    if not world().first:
        return
    print(printable(text), file=sys.stderr, flush=True)


@contextmanager
def track(label: str | None, total: int, start: int = 0) -> Iterator[Advance]:
    """Shows how far a piece of work is; yields a function that is told of every step done.

    Args:
        label: what is being done; nothing is shown when None.
        total: how many steps there are.
        start: how many of them were done by an earlier, interrupted run.
    """
    if label is None or not world().first:
        yield lambda steps: None
        return
    if not sys.stderr.isatty():
        begun, done, shown = time.monotonic(), start, start

        def log(steps: int) -> None:
            nonlocal done, shown
            done += steps
            if done >= total or done - shown >= max(1, total // 4):
                shown = done
                spent = time.monotonic() - begun
                left = spent / max(1, done - start) * (total - done)
                after = f", about {left:.0f} s left" if done < total else ""
                say(f"{label}: {done}/{total} ({spent:.0f} s{after})")

        yield log
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(label, total=total, completed=start)
        yield lambda steps: progress.advance(bar, steps)
