"""The chart of two questions at once: class match against what retraining says."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wherefrom.report._data import ReportData
from wherefrom.report._figures import Figure, Figures
from wherefrom.report._labels import Box, Label, Spot, labels
from wherefrom.report._metrics import label
from wherefrom.report._names import short
from wherefrom.report._numbers import correlation, interval, listed, percent, span
from wherefrom.report._retraining import Foretelling, Retraining
from wherefrom.report._scale import Scale

CLASS_MATCH = "average_precision"
WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 40, 610, 28, 394
# Names of one dot that are spelt out; methods that say the same lie on one another.
SPELT = 4
# Two lines of text need this much height.
APART = 13.0


@dataclass(frozen=True)
class Dot:
    """One method, or several that lie on one another.

    Attributes:
        ends: heights of the low and the high end of the interval; None where it is not known.
        told: names and numbers in words.
    """

    x: float
    y: float
    ends: tuple[float, float] | None
    told: str


@dataclass(frozen=True)
class Guide:
    """A level line: its height, that of its name, and the name."""

    y: float
    label: float
    name: str


@dataclass(frozen=True)
class Scatter:
    """Everything the drawing needs, in its own units.

    Attributes:
        alt: what is seen, in words.
        along: what grows to the right.
        up: what grows upwards.
        left_out: how many methods have an LDS and no class match.
    """

    alt: str
    along: str
    up: str
    ticks_along: tuple[tuple[float, str], ...]
    ticks_up: tuple[tuple[float, str], ...]
    guides: tuple[Guide, ...]
    dots: tuple[Dot, ...]
    labels: tuple[Label, ...]
    left_out: int
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM


def class_matches(retraining: Retraining, figures: Figures) -> dict[str, Figure]:
    """Class match of every method that has both: a fraction, under the recipe that was judged."""
    known = (
        figures.by_cell.get(((retraining.recipe, one.method), CLASS_MATCH))
        for one in retraining.foretellings
    )
    return {figure.key[1]: figure for figure in known if figure and math.isfinite(figure.value)}


def scatter(data: ReportData, figures: Figures) -> Scatter | None:
    """The chart; None where no method has both a class match and an LDS."""
    if data.retraining is None:
        return None
    matches = class_matches(data.retraining, figures)
    drawn = [one for one in data.retraining.foretellings if one.method in matches]
    if not drawn:
        return None
    ceiling = data.retraining.known_ceiling
    across = Scale.around((figure.value for figure in matches.values()), LEFT, RIGHT)
    ends = [end for one in drawn for end in (one.value, one.low, one.high)]
    upwards = Scale.around([*ends, 0.0, 0.0 if ceiling is None else ceiling], BOTTOM, TOP)
    piles: dict[tuple[float, float], list[Foretelling]] = {}
    for one in drawn:
        at = across.place(matches[one.method].value), upwards.place(one.value)
        piles.setdefault(at, []).append(one)
    dots, spots = [], []
    for (x, y), pile in piles.items():
        first = pile[0]
        low_high = (upwards.place(first.low), upwards.place(first.high))
        dots.append(Dot(x, y, low_high if first.has_interval else None, _told(pile, matches)))
        spots.append(Spot(_named(pile), x, y, dots[-1].ends))
    guides = _guides(upwards, ceiling)
    return Scatter(
        alt=_alt(drawn, matches, ceiling),
        along=f"class match: {label(CLASS_MATCH)}, %",
        up="linear datamodeling score (LDS)",
        ticks_along=tuple((across.place(t), f"{round(100 * t, 6):g}") for t in across.ticks()),
        ticks_up=tuple((upwards.place(t), f"{t:g}".replace("-", "−")) for t in upwards.ticks()),
        guides=guides,
        dots=tuple(dots),
        labels=labels(
            _important_first(spots),
            Box(LEFT + 2, TOP, RIGHT, BOTTOM),
            guides=[guide.y for guide in guides],
            first=2,
        ),
        left_out=len(data.retraining.foretellings) - len(drawn),
    )


def _guides(upwards: Scale, ceiling: float | None) -> tuple[Guide, ...]:
    zero = Guide(upwards.place(0.0), upwards.place(0.0), "foretells nothing")
    if ceiling is None:
        return (zero,)
    y = upwards.place(ceiling)
    return (zero, Guide(y, min(y, zero.y - APART), "noise ceiling"))


def _important_first(spots: list[Spot]) -> list[Spot]:
    rims = [
        min(spots, key=lambda spot: spot.y),
        max(spots, key=lambda spot: spot.x),
        max(spots, key=lambda spot: spot.y),
        min(spots, key=lambda spot: spot.x),
    ]
    return list(dict.fromkeys([*rims, *spots]))


def _named(pile: list[Foretelling]) -> str:
    others = f" +{len(pile) - 1}" if len(pile) > 1 else ""
    return short(pile[0].method, 30) + others


def _told(pile: list[Foretelling], matches: dict[str, Figure]) -> str:
    names = [short(one.method, 30) for one in pile[:SPELT]]
    if len(pile) > SPELT:
        names.append(f"{len(pile) - SPELT} more")
    first, match = pile[0], matches[pile[0].method]
    around = interval(match.low, match.high)
    ends = span(correlation(first.low), correlation(first.high))
    return (
        f"{listed(names)}: class match {percent(match.value)} %{f' ({around} %)' if around else ''}, "
        f"LDS {correlation(first.value)}{f' ({ends})' if ends else ''}"
    )


def _alt(drawn: list[Foretelling], matches: dict[str, Figure], ceiling: float | None) -> str:
    highest, lowest = drawn[0], drawn[-1]
    farthest = max(matches.values(), key=lambda figure: figure.value)
    counted = f"{len(drawn)} methods" if len(drawn) > 1 else "one method"
    return (
        f"Scatter chart of {counted}: class match ({label(CLASS_MATCH)}) to the right, linear "
        f"datamodeling score upwards. Highest is {short(highest.method, 30)} with "
        f"{correlation(highest.value)}, lowest {short(lowest.method, 30)} with "
        f"{correlation(lowest.value)}; farthest to the right is {short(farthest.key[1], 30)} with "
        f"{percent(farthest.value)} %."
        + (f" The noise ceiling is at {correlation(ceiling)}." if ceiling is not None else "")
        + " The tables have every number."
    )
