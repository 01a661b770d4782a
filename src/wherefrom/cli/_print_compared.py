"""Printing another tool's ranking beside ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.cli._options import Format
from wherefrom.cli._print import _console, print_rows
from wherefrom.safetext import one_line

if TYPE_CHECKING:
    from wherefrom.answers import Compared, Comparison, Effect
    from wherefrom.data import Example

_WHAT = {
    "retraining": "change of the response's log-probability, in nats a token, by training again without "
    "the rows",
    "spot check": "change of the response's log-probability, in nats a token, by one training step on "
    "the rows",
}
_P = "p: share of the random sets that do as much (one more counted); supported: at most 0.05"


def print_compared(found: Comparison, train: Sequence[Example], form: Format) -> None:
    """Prints the rows of both sides, how far they agree, and which side is supported.

    Args:
        found: the comparison.
        train: the training rows.
        form: how; CSV has a line for each query, side and row.
    """
    if form is Format.json:
        print(json.dumps(found.to_json(), indent=2))
        return
    if form is Format.csv:
        _print_flat(found, train)
        return
    from rich.text import Text

    for place, one in enumerate(found.queries):
        if place:
            print()
        if form is Format.table:
            title = f"{one_line(one.query.prompt, 80)} → {one_line(one.query.response, 80)}"
            _console().print(Text(title, style="bold"))
        else:
            print(f"### {one_line(one.query.id, 60)}\n")
        _print_sides(found, one, train, form)
        print()
        print(_agreement(found, one))
        if one.effect is not None:
            print()
            _print_effect(found, one.effect, form)
        print()
        print(one_line(found.sentence(one), 600))
    print()
    _print_under(found)


def _print_sides(found: Comparison, one: Compared, train: Sequence[Example], form: Format) -> None:
    ours, theirs = one_line(found.ours, 40), one_line(found.theirs, 40)
    rows = []
    for left, right in zip(one.ours, one.theirs, strict=True):
        line: list[Any] = [left.rank]
        for side in (left, right):
            row = train[side.number - 1]
            line += [one_line(side.row, 30), side.score, side.elsewhere]
            line += [one_line(f"{row.prompt} → {row.response}", 50)]
        rows.append(line)
    names = [
        "rank",
        *(f"{ours}", "score", f"rank in {theirs}", "text"),
        *(f"{theirs}", "score", f"rank in {ours}", "text"),
    ]
    print_rows(names, rows, form)


def _agreement(found: Comparison, one: Compared) -> str:
    alike = "undefined" if one.spearman is None else f"{one.spearman:.2f}"
    return (
        f"rank correlation over all rows {alike}; {round(one.overlap * found.k)} of the first "
        f"{found.k} rows in common (random rankings: {one.expected * found.k:.1f})"
    )


def _print_effect(found: Comparison, effect: Effect, form: Format) -> None:
    # without rows that push towards it, a response gets less likely; by a step on them, more
    sign = -1 if effect.how == "retraining" else 1
    sides = [(found.ours, effect.ours), (found.theirs, effect.theirs)]
    sides += [] if effect.words is None else [("nearest by words", effect.words)]
    rows: list[list[Any]] = [
        [one_line(name, 40), f"{sign * value:+.3f}", f"{effect.p_value(value):.2f}"]
        for name, value in sides
    ]
    random = sign * np.array(effect.random)
    low, high = np.percentile(random, [5, 95])
    told = f"{random.mean():+.3f} [{low:+.3f} to {high:+.3f} for nine in ten]"
    rows.append([f"random ({len(effect.random)} sets)", told, ""])
    name = "change without" if effect.how == "retraining" else "change by a step on"
    print_rows([f"{name} the {found.k} rows of", "change", "p"], rows, form)


def _print_under(found: Comparison) -> None:
    told = found.summary()
    if told is not None:
        if told["queries"] > 1:
            sign = -1 if told["how"] == "retraining" else 1
            print(
                f"over {told['queries']} answers: {one_line(found.ours, 60)} is supported for "
                f"{told['supported_ours']}, {one_line(found.theirs, 60)} for {told['supported_theirs']}; "
                f"mean change {sign * told['ours']:+.3f} and {sign * told['theirs']:+.3f}, random "
                f"{sign * told['random']:+.3f}\n"
            )
        print(f"{_WHAT[told['how']]}\n{_P}")
    if found.why_not:
        print(f"not retrained: {one_line(found.why_not, 600)}")


def _print_flat(found: Comparison, train: Sequence[Example]) -> None:
    lines: list[dict[str, Any]] = []
    for one in found.queries:
        effect = one.effect
        for side, name, rows in (
            ("ours", found.ours, one.ours),
            ("theirs", found.theirs, one.theirs),
        ):
            for placed in rows:
                row = train[placed.number - 1]
                value = None if effect is None else getattr(effect, side)
                lines.append(
                    {
                        "query": one.query.id,
                        "side": side,
                        "scores": name,
                        "rank": placed.rank,
                        "score": placed.score,
                        "row": placed.row,
                        "number": placed.number,
                        "rank_elsewhere": placed.elsewhere,
                        "source": row.source,
                        "spearman": one.spearman,
                        "overlap": one.overlap,
                        "how": None if effect is None else effect.how,
                        "effect": value,
                        "p": None if effect is None or value is None else effect.p_value(value),
                        "random": None if effect is None else float(np.mean(effect.random)),
                        "supported": None if effect is None else effect.supported,
                    }
                )
    print_rows(list(lines[0]), [list(line.values()) for line in lines], Format.csv)
