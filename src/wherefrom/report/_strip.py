"""The strip chart of spot checks: what the top rows gained beside what random rows did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wherefrom.diagnose import SpotCheck
from wherefrom.report._known import known
from wherefrom.report._numbers import NOTHING, change, counted, p_value
from wherefrom.report._scale import Scale

WIDTH = 720
LEFT, RIGHT, TOP = 230, 648, 26
STEP = 20
# More lines than these nobody compares; the table has them all.
MOST = 30


@dataclass(frozen=True)
class StripLine:
    """One answer: places of its gains.

    Attributes:
        value: p-value as written beside the line.
        told: all of it in words.
    """

    name: str
    value: str
    told: str
    y: float
    gain: float
    random: tuple[float, ...]
    lexical: tuple[float, ...]


@dataclass(frozen=True)
class Strip:
    """Everything the drawing needs, in its own units.

    Attributes:
        alt: what is seen, in words.
        zero: where nothing is gained.
        has_lexical: whether any answer was held against the nearest rows by words.
        left_out: how many answers are in the table only.
    """

    alt: str
    lines: tuple[StripLine, ...]
    ticks: tuple[tuple[float, str], ...]
    zero: float
    has_lexical: bool
    left_out: int
    height: float
    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP


def strip(spots: Sequence[tuple[str, SpotCheck | None]]) -> Strip | None:
    """The chart; None where no gain of top rows is known.

    Args:
        spots: of each answer its name and its spot check.
    """
    made = [(name, one) for name, one in spots if one and math.isfinite(known(one.gain))]
    if not made:
        return None
    drawn = made[:MOST]
    values = [known(v) for _, one in drawn for v in (one.gain, *one.random, *one.lexical)]
    scale = Scale.close([*values, 0.0], LEFT, RIGHT)
    lines = []
    for index, (name, one) in enumerate(drawn):
        p = p_value(known(one.p_value))
        lines.append(
            StripLine(
                name=name,
                value=f"p = {p}" if p != NOTHING else "",
                told=_told(name, one, p),
                y=TOP + STEP * (index + 0.5),
                gain=scale.place(known(one.gain)),
                random=_places(one.random, scale),
                lexical=_places(one.lexical, scale),
            )
        )
    beyond = sum(_beyond(one) for _, one in drawn)
    return Strip(
        alt=(
            f"Strip chart of spot checks, {counted(len(drawn), 'answer')}: in {beyond} of them the "
            "top rows gain more than every random set. The table has every number."
        ),
        lines=tuple(lines),
        ticks=tuple((scale.place(t), f"{t:g}".replace("-", "−")) for t in scale.ticks()),
        zero=scale.place(0.0),
        has_lexical=any(line.lexical for line in lines),
        left_out=len(made) - len(drawn),
        height=TOP + STEP * len(lines) + 42,
    )


def _places(gains: Sequence[float], scale: Scale) -> tuple[float, ...]:
    return tuple(scale.place(gain) for gain in map(known, gains) if math.isfinite(gain))


def _beyond(one: SpotCheck) -> bool:
    chance = [gain for gain in map(known, one.random) if math.isfinite(gain)]
    return bool(chance) and known(one.gain) > max(chance)


def _told(name: str, one: SpotCheck, p: str) -> str:
    chance = [gain for gain in map(known, one.random) if math.isfinite(gain)]
    ends = f", random sets {change(min(chance))} to {change(max(chance))}" if chance else ""
    return f"{name}: top rows {change(known(one.gain))} nats a token{ends}, p {p}"
