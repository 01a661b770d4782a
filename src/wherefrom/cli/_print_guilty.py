"""Printing the rows behind a set of bad answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from wherefrom.answers import calibration_of
from wherefrom.cli._options import Format
from wherefrom.cli._print import _console, print_known, print_rows
from wherefrom.safetext import one_line

if TYPE_CHECKING:
    from wherefrom.answers import Guilt, GuiltyRow

_GUILT = (
    "guilt: mean score over the bad answers − over the good ones, each answer's scores in units of their "
    "root mean square [95 %: answers]"
)
_REMOVAL = (
    "Δlogp: predicted mean change of the answers' log-probability without the row, in nats a token"
)
_UNSCALED = (
    "; to first order: its order tells, its size can be many times too large or too small until "
    "`wherefrom counterfactual RUN --parts lds` has set the scale"
)


def print_guilty(found: Sequence[Guilt], top: int, form: Format) -> None:
    """Prints the guiltiest rows, and groups of near-duplicates among them, by each method."""
    if form is Format.json:
        print(json.dumps([one.to_json(top) for one in found], indent=2, default=str))
        return
    if form is not Format.table:
        lines = [{"method": one.method, **asdict(row)} for one in found for row in one.lines(top)]
        print_rows(list(lines[0]), [list(line.values()) for line in lines], form)
        return
    from rich.text import Text

    for place, one in enumerate(found):
        if place:
            print()
        lines_ = one.lines(top)
        good = 0 if one.good is None else len(one.good.query_ids)
        title = f"behind {len(one.bad.query_ids)} bad answers, by {one_line(one.method, 100)}"
        title += f", against {good} good ones" if good else ""
        _console().print(Text(title, style="bold"))
        _print_rows(one, lines_)
        for group in one.groups(top):
            if len(group.rows) > 1:
                ids = one_line(", ".join(group.rows), 120)
                ends = span(group.guilt, group.low, group.high)
                print(f"near-duplicates, as one cause: {ids} (guilt {ends})")
    print(_GUILT)
    first = found[0]
    print(f"in top: bad answers that have the row among their first {first.k}")
    predicting = [one for one in found if one.lines(1)[0].removal_bad is not None]
    if predicting:
        known = calibration_of(predicting[0].bad)
        print(_REMOVAL + (_UNSCALED if known is None else f"; scaled by {known.factor:.3g}"))


def span(value: float, low: float | None, high: float | None) -> str:
    """A number with its interval, where there is one."""
    told = f"{value:.3g}"
    return told if low is None or high is None else f"{told} [{low:.3g}–{high:.3g}]"


def _print_rows(found: Guilt, lines: Sequence[GuiltyRow]) -> None:
    bad = len(found.bad.query_ids)
    columns: dict[str, list[Any]] = {
        "rank": [line.rank for line in lines],
        "guilt": [span(line.guilt, line.low, line.high) for line in lines],
        "bad": [line.bad for line in lines],
        "good": [line.good for line in lines],
        "Δlogp bad": [line.removal_bad for line in lines],
        "Δlogp good": [line.removal_good for line in lines],
        "in top": [f"{line.hits}/{bad}" for line in lines],
        "row": [line.number for line in lines],
        "id": [one_line(line.row, 30) for line in lines],
        "line": [one_line(line.source, 30) for line in lines],
        "class": [one_line(line.label or "", 20) for line in lines],
        "prompt": [one_line(line.prompt, 50) for line in lines],
        "response": [one_line(line.response, 40) for line in lines],
    }
    print_known(columns)
