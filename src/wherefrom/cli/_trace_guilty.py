"""`wherefrom trace --bad … --good …`: the rows behind a set of bad answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.cli._options import Format
from wherefrom.cli._print_guilty import print_guilty
from wherefrom.cli._written import printed
from wherefrom.data import Example
from wherefrom.progress import say
from wherefrom.run import guilty_by

if TYPE_CHECKING:
    from wherefrom.run import Run


def trace_guilty(
    run: Run,
    bad: Sequence[Example],
    good: Sequence[Example],
    specs: Sequence[str],
    top: int,
    out: Path | None,
    form: Format,
) -> None:
    """Prints (or writes) one ranked list of guilty rows by each method.

    Args:
        run: indexed for the methods.
        bad: answers that should not have been given.
        good: answers to be kept; may be empty.
        specs: methods.
        top: rows of a list.
        out: a file; standard output when None.
        form: how.
    """
    found = guilty_by(run, specs, bad, good)
    printed(lambda: print_guilty(found, top, form), out, "guilty rows")
    if form is Format.table:
        say(f"next: wherefrom prune {run.path} --queries … --top {top} --out cleaned.jsonl")
