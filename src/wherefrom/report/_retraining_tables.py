"""The tables of what retraining said, and what their numbers mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from wherefrom.counterfactual import OUTCOMES
from wherefrom.report._names import short
from wherefrom.report._numbers import (
    NOTHING,
    change,
    correlation,
    counted,
    p_value,
    percent,
    span,
)
from wherefrom.report._retraining import Retraining
from wherefrom.report._table import Cell, Row, Table, order

if TYPE_CHECKING:
    import pandas as pd

Line = Mapping[str, Any]

# With fewer random sets, the largest of them all is not yet the top 5 %.
ENOUGH = 19


def retraining_tables(retraining: Retraining) -> tuple[Table, ...]:
    """A table for each part that has a line."""
    return tuple(
        make(retraining)
        for part, make in _MAKERS.items()
        if part in retraining.frames and not retraining.frames[part].empty
    )


def _lds(retraining: Retraining) -> Table:
    frame = retraining.frames["lds"]
    subsets, seeds = int(frame["subsets"].max()), int(frame["seeds"].max())
    keep = retraining.setting("lds", "keep")
    meaning = (
        f"over {subsets:,} random subsets of the training rows"
        f"{f', each {100 * float(keep):.3g} % of them' if keep else ''}, Spearman’s correlation "
        "between the sum of a method’s scores of the rows kept and the outcome of a model retrained "
        "on them. From −1 to 1, higher is better: 1 = foretells the order of all subsets, 0 = says "
        f"nothing of it. Mean over {_queries(frame)}; beneath, the 95 % interval over subsets"
        f"{', seeds' if seeds > 1 else ''} and queries."
    )
    undefined = int(frame["undefined"].max())
    if undefined:
        meaning += (
            f" Left out: {counted(undefined, 'query', 'queries')} whose outcome is the same after "
            "every retraining, which nothing can foretell."
        )
    return Table(
        "Linear datamodeling score",
        (("LDS", meaning),),
        f"{_ceiling(retraining, seeds)}{_outcome(retraining, 'lds')}",
        tuple(
            _row(line, _estimate(line, "value", "low", "high", correlation))
            for line in _sorted(frame, lambda line: -line["value"])
        ),
    )


def _ceiling(retraining: Retraining, seeds: int) -> str:
    ceiling = retraining.ceiling
    if ceiling is not None and retraining.known_ceiling is not None:
        ends = span(correlation(ceiling.low), correlation(ceiling.high))
        return (
            f"The noise ceiling is {correlation(ceiling.ceiling)}{f' ({ends})' if ends else ''}: what "
            "a method would reach that knew the outcome free of the noise of "
            f"{seeds:,} seeds. Two halves of the seeds agree at {correlation(ceiling.agreement)}."
        )
    if seeds == 1:
        return (
            "With one seed there is no noise ceiling: nobody can tell a poor method from a noisy "
            "outcome."
        )
    return "The noise ceiling is not known."


def _leave_out(retraining: Retraining) -> Table:
    return _removals(
        "Leaving the top rows out",
        "drop",
        "a query’s outcome after training on all rows − after retraining without the k rows that the "
        "method ranks first for it. Above 0 = without them the outcome was lower, so they had pushed "
        "towards the response.",
        retraining,
        "leave-out",
    )


def _tail_patch(retraining: Retraining) -> Table:
    steps = retraining.setting("tail-patch", "steps")
    taken = "a few more steps" if steps is None else counted(int(steps), "more step")
    return _removals(
        "Training on the top rows (tail-patch)",
        "gain",
        f"a query’s outcome after {taken} of training on the k rows that the method ranks first for "
        "it − before. Above 0 = these rows push towards the response. Nothing is retrained here.",
        retraining,
        "tail-patch",
    )


def _removals(name: str, what: str, meaning: str, retraining: Retraining, part: str) -> Table:
    frame = retraining.frames[part]
    draws, seeds = retraining.setting(part, "draws"), int(frame["seeds"].max())
    sets = f"{int(draws):,} random sets" if draws else "random sets"
    least = f"; with {sets}, never below {p_value(1 / (1 + int(draws)))}" if draws else ""
    usual = "about 5 by chance" if not draws or int(draws) >= ENOUGH else f"none can with {sets}"
    return Table(
        name,
        (
            ("k", "how many rows."),
            (what, meaning),
            (
                "excess",
                f"{what} less the mean {what} of {sets} of k rows. Above 0 = more than chance.",
            ),
            (
                "p",
                f"share of sets with as large a mean {what}, the method’s own counted in{least}.",
            ),
            (
                "beyond",
                f"queries whose {what} exceeds that of 95 % of the random sets, in percent; {usual}.",
            ),
        ),
        f"{what.capitalize()} and excess are means over {_queries(frame)}; beneath, the 95 % interval "
        f"over queries{' and seeds' if seeds > 1 else ''}.{_outcome(retraining, part)}",
        tuple(
            _row(
                line,
                _cell(line["k"], _number),
                _estimate(line, what, "low", "high", change),
                _estimate(line, "excess", "excess_low", "excess_high", change),
                _cell(line["p"], p_value),
                _cell(line["beyond"], percent),
            )
            for line in _sorted(frame, lambda line: -line["excess"], by="k")
        ),
    )


def _brittleness(retraining: Retraining) -> Table:
    frame = retraining.frames["brittleness"]
    outcome = retraining.setting("brittleness", "outcome")
    if outcome not in (None, "behaviour"):
        # a plan's other outcomes are not yes or no, and nothing could flip
        outcome = "greedy"
    return Table(
        "Brittleness",
        (
            (
                "rows",
                "how many of a method’s top rows must go before half of the queries no longer show "
                "the behaviour; fewer = the method finds what it hangs on. – where fewer than half "
                "flip within the most that were removed.",
            ),
            ("flipped", "queries that flip at all, in percent."),
        ),
        f"Of {_queries(frame)} that show the behaviour after training on all rows.{_told(outcome)}",
        tuple(
            _row(line, _cell(line["median"], _number), _cell(line["flipped"], percent))
            for line in _sorted(frame, lambda line: line["median"])
        ),
    )


def _leave_one_out(retraining: Retraining) -> Table:
    frame = retraining.frames["leave-one-out"]
    return Table(
        "Leaving single rows out",
        (
            (
                "Spearman",
                "correlation over training rows between a method’s scores and the outcome that is "
                "lost without each single row. From −1 to 1, higher is better, 0 = says nothing. One "
                "row does little beside the noise of training, so low values are no surprise.",
            ),
        ),
        f"Means over {_queries(frame)}.{_outcome(retraining, 'leave-one-out')}",
        tuple(
            _row(line, _cell(line["spearman"], correlation))
            for line in _sorted(frame, lambda line: -line["spearman"])
        ),
    )


_MAKERS: Mapping[str, Callable[[Retraining], Table]] = {
    "lds": _lds,
    "leave-out": _leave_out,
    "tail-patch": _tail_patch,
    "brittleness": _brittleness,
    "leave-one-out": _leave_one_out,
}


def _row(line: Line, *cells: Cell) -> Row:
    return Row(short(str(line["method"])), cells)


def _cell(value: float, written: Callable[[float], str]) -> Cell:
    return Cell(written(value), order=order(value))


def _estimate(line: Line, value: str, low: str, high: str, written: Callable[[float], str]) -> Cell:
    return Cell(
        written(line[value]), span(written(line[low]), written(line[high])), order(line[value])
    )


def _sorted(
    frame: pd.DataFrame, rank: Callable[[Line], float], by: str | None = None
) -> list[Line]:
    def place(line: Line) -> tuple[float, bool, float]:
        found = rank(line)
        return (line[by] if by else 0.0, math.isnan(found), 0.0 if math.isnan(found) else found)

    lines: list[Line] = [dict(zip(frame.columns, line, strict=True)) for line in frame.to_numpy()]
    return sorted(lines, key=place)


def _queries(frame: pd.DataFrame) -> str:
    return counted(int(frame["queries"].max()), "query", "queries")


def _number(value: float) -> str:
    return f"{value:,.10g}" if math.isfinite(value) else NOTHING


def _outcome(retraining: Retraining, part: str) -> str:
    return _told(retraining.setting(part, "outcome"))


def _told(outcome: object) -> str:
    told = OUTCOMES.get(str(outcome))
    return f" Outcome: {told}." if told else ""
