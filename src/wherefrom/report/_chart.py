"""The chart of the first metric: a dot and an interval for each method and recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wherefrom.report._data import ReportData
from wherefrom.report._figures import Figure, Figures
from wherefrom.report._metrics import label
from wherefrom.report._names import short
from wherefrom.report._numbers import percent

WIDTH = 720
LEFT = 260
RIGHT = 62
TOP = 26
# More rows than this make a chart nobody reads; the table has them all.
MOST = 40


@dataclass(frozen=True)
class Mark:
    """One dot with its interval, in the chart's own units.

    Attributes:
        x: centre of the dot.
        y: height of dot and interval.
        low: left end of the interval.
        high: right end of the interval.
        series: which recipe, counted from 0.
    """

    x: float
    y: float
    low: float
    high: float
    series: int


@dataclass(frozen=True)
class Line:
    """One method: its name, its best value and its marks."""

    name: str
    value: str
    y: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Chart:
    """Everything the drawing needs, in the chart's own units.

    Attributes:
        metric: what is drawn.
        alt: what is seen, in words.
        ticks: places and names of the vertical lines.
        guides: places and names of the dashed lines, what values are to be compared with.
        left_out: how many methods are in the table only.
    """

    metric: str
    alt: str
    width: int
    height: float
    left: int
    right: int
    top: int
    recipes: tuple[str, ...]
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]
    guides: tuple[tuple[float, str], ...]
    left_out: int


def chart(data: ReportData, figures: Figures) -> Chart | None:
    """The chart of the first metric; None where it has no value at all."""
    metric = figures.metrics[0] if figures.metrics else ""
    known = [figures.by_cell.get((key, metric)) for key in figures.standing]
    drawn = [figure for figure in known if figure and math.isfinite(figure.value)]
    if not drawn:
        return None
    every = tuple(dict.fromkeys(figure.key[1] for figure in drawn))
    methods = every[:MOST]
    start = min(0.0, *(_ends(figure)[0] for figure in drawn))
    end = max(1.0, *(_ends(figure)[1] for figure in drawn))

    def place(value: float) -> float:
        return round(LEFT + (value - start) / (end - start) * (WIDTH - LEFT - RIGHT), 1)

    step = 12 * max(1, len(figures.recipes)) + 6
    lines = []
    for index, method in enumerate(methods):
        mine = [figure for figure in drawn if figure.key[1] == method]
        y = TOP + step * (index + 0.5)
        marks = []
        for figure in mine:
            series = figures.recipes.index(figure.key[0])
            shift = 12 * (series - (len(figures.recipes) - 1) / 2)
            low, high = _ends(figure)
            marks.append(
                Mark(place(figure.value), round(y + shift, 1), place(low), place(high), series)
            )
        best = percent(max(figure.value for figure in mine))
        lines.append(Line(short(method, 30), best, round(y, 1), tuple(marks)))
    chance = data.chance.get(metric, math.nan)
    first, last = lines[0], lines[-1]
    return Chart(
        metric=label(metric),
        alt=(
            f"Dot chart of {label(metric)} in percent, {len(lines)} methods from best to worst: "
            f"from {first.name} with {first.value} down to {last.name} with {last.value}. "
            "The tables have every number."
        ),
        width=WIDTH,
        height=round(TOP + step * len(lines) + 28, 1),
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        recipes=tuple(short(recipe, 30) for recipe in figures.recipes),
        lines=tuple(lines),
        ticks=tuple(
            (place(tick / 4), f"{25 * tick}")
            for tick in range(math.ceil(start * 4), math.floor(end * 4) + 1)
        ),
        guides=((place(chance), "chance"),) if math.isfinite(chance) else (),
        left_out=len(every) - len(methods),
    )


def _ends(figure: Figure) -> tuple[float, float]:
    low = figure.low if math.isfinite(figure.low) else figure.value
    high = figure.high if math.isfinite(figure.high) else figure.value
    return low, high
