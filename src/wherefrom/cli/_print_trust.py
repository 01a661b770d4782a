"""Printing whether answers can be trusted: a run's check, and the verdict on one trace."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wherefrom.cli._options import Format
from wherefrom.cli._print import _console, print_rows
from wherefrom.safetext import one_line, printable

if TYPE_CHECKING:
    from rich.text import Text

    from wherefrom.diagnose import Finding, SpotCheck, TraceCheck, Trust, Verdict

_STYLES = {
    "failure": "bold red",
    "warning": "red",
    "notice": "yellow",
    "unknown": "dim",
    "good": "green",
    "not supported": "bold red",
    "weak": "yellow",
    "cannot tell": "dim",
    "supported": "bold green",
}
_WORST_FIRST = ("failure", "warning", "notice", "unknown", "good")
_LONGEST = 600
_REASON = 300
_ID = 40
_REASONS_BESIDE = 1
"""More make a table nobody reads; the other forms have all."""
_UNDER = (
    "chance: that training again without an answer's top rows lowers the response's log-probability "
    "further than without random rows or those nearest by words, as fitted on retraining",
    "gain: nats a token that one training step on the top rows adds to it; random: mean of as many "
    "random rows; words: most that as many rows nearest by words add; p: share of the random sets that "
    "gain as much",
)


def print_trust(trust: Trust, form: Format) -> None:
    """Prints what a check came to.

    A table for people has the verdict, the checks and the answers; JSON is `check.json`; the other forms
    have the answers alone.
    """
    if form is Format.json:
        print(json.dumps(trust.to_json(), indent=2))
        return
    if form is not Format.table:
        _print_traces(trust.traces, form)
        return
    failed = not trust.verdict.number and any(one.level == "failure" for one in trust.findings)
    _print_verdict_line(
        trust.verdict,
        f"answers of {one_line(trust.method)}",
        meaning="a check failed, so that no answer counts" if failed else _meaning(trust.k),
    )
    if trust.findings:
        print()
        _print_findings(trust.findings)
    if trust.traces:
        print()
        _print_traces(trust.traces, form)
        print("\n".join(_UNDER))


def print_verdict(verdict: Verdict, spot: SpotCheck | None, rows: int) -> None:
    """Prints the verdict on one answer: word, chance, spot check, and a reason a line.

    Args:
        verdict: on the answer.
        spot: its spot check; None where it was not made.
        rows: how many top rows both are about.
    """
    _print_verdict_line(verdict, "this answer", meaning=_meaning(rows), reasons=False)
    if spot is None:
        print("spot check: not made")
    else:
        print(
            f"spot check: one training step on {_which(rows)} changes the response by "
            f"{_gain(spot.gain)} nats a token; {_beside(spot)}"
        )
    _print_reasons(verdict)


def verdict_cells(trust: TraceCheck | None, form: Format) -> dict[str, Any]:
    """The verdict on an answer as columns beside its rows, by name; None in all without one.

    JSON has the reasons, what they were told from and the spot check too.
    """
    cells: dict[str, Any] = dict.fromkeys(("verdict", "verdict_number"))
    if form is Format.json:
        cells |= dict.fromkeys(("verdict_reasons", "verdict_features", "spot_check"))
    if trust is not None:
        held = trust.to_json()
        verdict = held["verdict"]
        known = {"verdict": verdict["word"], "spot_check": held["spot"]}
        known |= {f"verdict_{name}": verdict[name] for name in ("number", "reasons", "features")}
        cells = {name: known[name] for name in cells}
    return cells


def _print_verdict_line(verdict: Verdict, of: str, *, meaning: str, reasons: bool = True) -> None:
    from rich.text import Text

    line = Text(f"{of}: ")
    line.append(one_line(verdict.word), style=_STYLES.get(verdict.word, ""))
    number = _number(verdict.number)
    if math.isfinite(number):
        line.append(f", {number:.2f}")
        line.append(f" ({meaning})", style="dim")
    _console().print(line)
    if reasons:
        _print_reasons(verdict)


def _meaning(rows: int) -> str:
    return f"chance that retraining without {_which(rows)} bears it out"


def _which(rows: int) -> str:
    return f"the top {rows} rows" if rows > 1 else "the top row"


def _print_reasons(verdict: Verdict) -> None:
    for reason in verdict.reasons:
        print(f"- {one_line(reason, _REASON)}")


def _print_findings(findings: Sequence[Finding]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("group", "level", "check"):
        table.add_column(name, no_wrap=name == "level", overflow="fold")
    table.add_column("measured", overflow="fold", ratio=1)
    groups = list(dict.fromkeys(one.group for one in findings))
    last = ""
    for one in sorted(findings, key=lambda one: (groups.index(one.group), _severity(one.level))):
        table.add_row(
            Text(one_line(one.group) if one.group != last else ""),
            Text(one_line(one.level), style=_STYLES.get(one.level, "")),
            Text(one_line(one.check)),
            _told(one),
        )
        last = one.group
    _console().print(table)


def _told(one: Finding) -> Text:
    from rich.text import Text

    told = Text(printable(one.measured, _LONGEST))
    if not one.bad:
        return told
    for head, text in (("meaning", one.meaning), ("do", one.advice)):
        if text.strip():
            told.append(f"\n{head}: ", style="bold")
            told.append(printable(text, _LONGEST))
    return told


def _print_traces(traces: Sequence[TraceCheck], form: Format) -> None:
    columns = ("query", "verdict", "chance", "gain", "random", "words", "p", "why")
    print_rows(columns, [_row(one, form) for one in traces], form)


def _row(one: TraceCheck, form: Format) -> list[Any]:
    gains = ["–"] * 4
    if one.spot is not None:
        random, lexical = _known(one.spot.random), _known(one.spot.lexical)
        mean = sum(random) / len(random) if random else math.nan
        p = _number(one.spot.p_value)
        gains = [
            _gain(one.spot.gain),
            _gain(mean),
            _gain(max(lexical, default=math.nan)),
            f"{p:.3f}" if math.isfinite(p) else "–",
        ]
    reasons = one.verdict.reasons
    if form is Format.table:
        reasons = _telling(one.verdict)[:_REASONS_BESIDE]
    number = _number(one.verdict.number)
    return [
        one_line(one.query, _ID if form is Format.table else 80),
        one.verdict.word,
        f"{number:.2f}" if math.isfinite(number) else "–",
        *gains,
        "; ".join(one_line(reason, _REASON) for reason in reasons),
    ]


def _telling(verdict: Verdict) -> tuple[str, ...]:
    """The reasons, those that speak for the verdict's word first."""
    side = {"supported": "for:", "not supported": "against:"}.get(verdict.word, "")
    return tuple(sorted(verdict.reasons, key=lambda reason: not reason.startswith(side)))


def _beside(spot: SpotCheck) -> str:
    random, lexical = _known(spot.random), _known(spot.lexical)
    told = []
    if random:
        mean = sum(random) / len(random)
        told.append(f"random rows {_gain(mean)} ({_gain(min(random))} to {_gain(max(random))})")
    if lexical:
        told.append(f"rows nearest by words {_gain(max(lexical))}")
    p = _number(spot.p_value)
    told.append(f"p = {p:.3f}" if math.isfinite(p) else "no p-value")
    return ", ".join(told)


def _severity(level: str) -> int:
    return _WORST_FIRST.index(level if level in _WORST_FIRST else "unknown")


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in map(_number, values) if math.isfinite(value)]


def _number(value: float | None) -> float:
    # a check read from a file has None where a number was NaN
    return math.nan if value is None else value


def _gain(value: float | None) -> str:
    number = _number(value)
    return f"{number:+.3g}" if math.isfinite(number) else "–"
