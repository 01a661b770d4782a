"""`wherefrom trace --queries … --out FOLDER`: many questions, over signals that need not fit memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.atomic import file_name
from wherefrom.data import Example
from wherefrom.progress import say
from wherefrom.scores import write_top

if TYPE_CHECKING:
    from wherefrom.run import Run


def trace_many(
    run: Run, queries: Sequence[Example], specs: Sequence[str], k: int, out: Path
) -> None:
    """Scores queries and writes the ends of their rankings, a Parquet file a method."""
    found = run.top(k, specs, queries)
    out.mkdir(parents=True, exist_ok=True)
    for one in found:
        path = out / f"{file_name(one.method)}.parquet"
        write_top(one, path)
        say(f"{one.method}: {path}")
