"""`wherefrom trace … --compare OTHER_SCORES`: which side does retraining support?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherefrom.cli._options import Format
from wherefrom.cli._print_compared import print_compared
from wherefrom.cli._written import printed
from wherefrom.run import compare, read_other

if TYPE_CHECKING:
    from wherefrom.answers import Answer
    from wherefrom.run import Run


def trace_compare(
    run: Run,
    answers: Sequence[Answer],
    other: Path,
    sign: str,
    top: int,
    out: Path | None,
    form: Format,
) -> None:
    """Prints (or writes) another tool's ranking beside that of the answers' leading method.

    Args:
        run: the run.
        answers: what was traced.
        other: the other tool's scores: queries × training rows.
        sign: `negative` where its most helpful row has the lowest score.
        top: first rows that are compared and left out.
        out: a file; standard output when None.
        form: how.
    """
    told: Any = sign
    ids = [answer.query.id for answer in answers], [row.id for row in run.train]
    found = compare(run, answers, read_other(other, *ids, told), k=top)
    printed(lambda: print_compared(found, run.train, form), out, "comparison")
