"""The answers that were looked at, a line each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wherefrom.data import Example
from wherefrom.diagnose import SpotCheck, TraceCheck
from wherefrom.report._known import known
from wherefrom.report._names import short
from wherefrom.report._numbers import NOTHING, change, p_value
from wherefrom.report._table import Cell, order
from wherefrom.report._trust_words import Stamp, chance, stamp_of_word
from wherefrom.safetext import one_line

# A page is made to be read: `check.json` has them all.
MOST = 60
MOST_REASONS = 4
REASON = 200
NAME = 34
GLIMPSE = 110

# The least supported first: that is what a reader must not miss.
_ORDER = ("not supported", "weak", "cannot tell", "supported")


@dataclass(frozen=True)
class TraceLine:
    """One answer.

    Attributes:
        name: of the query, short enough to stand beside a drawing.
        prompt: of the query; its id where the run has no such query.
        response: what was explained; empty where it is not known.
        cells: number, gain, random, lexical and p-value.
        spot: the spot check that they are from.
    """

    id: str
    name: str
    prompt: str
    response: str
    stamp: Stamp
    rank: int
    cells: tuple[Cell, ...]
    reasons: tuple[str, ...]
    spot: SpotCheck | None


def trace_lines(
    traces: Sequence[TraceCheck], queries: Sequence[Example]
) -> tuple[tuple[TraceLine, ...], int]:
    """The answers that the page has room for, and how many more there are."""
    by_id = {query.id: query for query in queries}
    ordered = sorted(traces, key=_standing)
    kept = ordered[:MOST]
    return tuple(_line(one, by_id.get(one.query)) for one in kept), len(ordered) - len(kept)


def _standing(one: TraceCheck) -> tuple[int, float]:
    number = known(one.verdict.number)
    return _rank(one), number if math.isfinite(number) else math.inf


def _rank(one: TraceCheck) -> int:
    word = one.verdict.word
    return _ORDER.index(word) if word in _ORDER else _ORDER.index("cannot tell")


def _line(one: TraceCheck, query: Example | None) -> TraceLine:
    id = short(one.query, 40)
    prompt = one_line(query.prompt, GLIMPSE) if query else ""
    response = one_line(query.response, GLIMPSE) if query else ""
    number = chance(one.verdict.number)
    return TraceLine(
        id=id,
        name=short(one.query, NAME),
        prompt=prompt or id,
        response=response,
        stamp=stamp_of_word(one.verdict.word),
        rank=_rank(one),
        cells=(
            Cell(number or NOTHING, order=order(known(one.verdict.number))),
            *(_gains(one.spot) if one.spot else (Cell(NOTHING),) * 4),
        ),
        reasons=tuple(one_line(reason, REASON) for reason in one.verdict.reasons[:MOST_REASONS]),
        spot=one.spot,
    )


def _gains(spot: SpotCheck) -> tuple[Cell, ...]:
    random, lexical = _known(spot.random), _known(spot.lexical)
    mean = sum(random) / len(random) if random else math.nan
    most = max(lexical, default=math.nan)
    p = known(spot.p_value)
    return (
        Cell(change(known(spot.gain)), order=order(known(spot.gain))),
        Cell(change(mean), order=order(mean)),
        Cell(change(most), order=order(most)),
        Cell(p_value(p), order=order(p)),
    )


def _known(values: Sequence[float]) -> list[float]:
    return [value for value in map(known, values) if math.isfinite(value)]
