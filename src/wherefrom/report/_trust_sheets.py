"""The check as tables to take along."""

from __future__ import annotations

import math

from wherefrom.diagnose import TraceCheck, Trust
from wherefrom.report._downloads import Sheet, Value
from wherefrom.report._known import known
from wherefrom.report._trust_checks import LONGEST


def check_sheet(trust: Trust | None) -> Sheet:
    """Every check, as the page has it."""
    findings = () if trust is None else trust.findings
    return Sheet(
        "checks",
        "a line for each check",
        ("check", "group", "level", "measured", "normal", "meaning", "what to do"),
        tuple(
            (one.check, one.group, one.level, one.measured, one.normal, one.meaning, one.advice)
            for one in findings
        ),
        longest=LONGEST,
    )


def answer_sheet(trust: Trust | None) -> Sheet:
    """Every answer that was looked at, also those that the page has no room for."""
    traces = () if trust is None else trust.traces
    return Sheet(
        "answers",
        "a line for each answer that was looked at",
        (
            *("query", "method", "verdict", "chance", "gain", "random (mean)"),
            *("by words (highest)", "p", "rows", "why"),
        ),
        tuple(_line(one) for one in traces),
        longest=LONGEST,
    )


def _line(one: TraceCheck) -> tuple[Value, ...]:
    spot: tuple[Value, ...] = (None,) * 4
    if one.spot is not None:
        random, lexical = (
            [value for value in map(known, values) if math.isfinite(value)]
            for values in (one.spot.random, one.spot.lexical)
        )
        spot = (
            known(one.spot.gain),
            sum(random) / len(random) if random else None,
            max(lexical, default=None),
            known(one.spot.p_value),
        )
    return (
        *(one.query, one.method, one.verdict.word, known(one.verdict.number)),
        *(*spot, " ".join(one.rows), "; ".join(one.verdict.reasons)),
    )
