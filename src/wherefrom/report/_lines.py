"""Lines over one axis: a panel for each unit, one above the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wherefrom.report._labels import LETTER
from wherefrom.report._scale import MOST_TICKS, Scale

WIDTH = 720
LEFT, RIGHT = 58, 690
TOP = 30
TALL, LOW = 220.0, 110.0
FEW_TICKS = 5
BETWEEN = 40.0
BOTTOM = 40.0
# More places than these are no small figure.
MOST = 500
# Between the names of two ticks, so that they stay two.
GAP = 8.0


@dataclass(frozen=True)
class Series:
    """One measure: a value for each place along the axis, NaN where it is not known."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Axis:
    """What grows to the right, and the places on it.

    Attributes:
        along: what it is.
        places: ascending.
        names: of the places.
    """

    along: str
    places: tuple[float, ...]
    names: tuple[str, ...]

    def series(self, name: str, values: Sequence[float]) -> Series:
        """A measure along the axis; unknown throughout where it has not one value for each place."""
        fits = len(values) == len(self.places)
        return Series(name, tuple(values) if fits else (math.nan,) * len(self.places))


@dataclass(frozen=True)
class Measured:
    """Measures that share a unit, and so a panel.

    Attributes:
        unit: what grows upwards.
        series: the measures.
        within: values that the panel shows whatever was measured: 0, or both ends of a share.
    """

    unit: str
    series: tuple[Series, ...]
    within: tuple[float, ...] = (0.0,)


@dataclass(frozen=True)
class Curve:
    """One measure as drawn: a path broken where values are unknown, and its points.

    Attributes:
        number: which series, counted from 0 through all panels.
        points: centres, and what each tells in words.
    """

    number: int
    path: str
    points: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Panel:
    """The curves of one unit."""

    unit: str
    top: float
    bottom: float
    ticks: tuple[tuple[float, str], ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Lines:
    """Everything the drawing needs, in its own units.

    Attributes:
        title: what the reader is asked to see.
        note: how to read it.
        alt: what is seen, in words.
        along: what grows to the right.
        keys: names of the series by their number.
    """

    title: str
    note: str
    alt: str
    along: str
    keys: tuple[str, ...]
    ticks: tuple[tuple[float, str], ...]
    panels: tuple[Panel, ...]
    height: float
    width: int = WIDTH
    left: int = LEFT
    right: int = RIGHT


def lines(
    title: str,
    note: str,
    axis: Axis,
    measured: Sequence[Measured],
    marked: Sequence[int] | None = None,
) -> Lines | None:
    """The drawing; None where no value is known, or there are too few or too many places.

    Args:
        title: what the reader is asked to see.
        note: how to read it.
        axis: what all panels share.
        measured: a panel each, from top to bottom.
        marked: which of the places have a tick where there is room; all when None.
    """
    panels = [kept for one in measured if (kept := _known(one))]
    if not panels or not 1 < len(axis.places) <= MOST:
        return None
    across = Scale.close(axis.places, LEFT, RIGHT)
    tall = TALL if len(panels) == 1 else LOW
    drawn: list[Panel] = []
    top, number = float(TOP), 0
    for one in panels:
        drawn.append(_panel(one, axis, across, top, top + tall, number))
        number += len(one.series)
        top += tall + BETWEEN
    series = [part for one in panels for part in one.series]
    ticks = [(across.place(x), name) for x, name in zip(axis.places, axis.names, strict=True)]
    return Lines(
        title=title,
        note=note,
        alt=_alt(title, axis, series),
        along=axis.along,
        keys=tuple(one.name for one in series),
        ticks=_readable(ticks if marked is None else [ticks[index] for index in marked]),
        panels=tuple(drawn),
        height=drawn[-1].bottom + BOTTOM,
    )


def _known(one: Measured) -> Measured | None:
    series = tuple(part for part in one.series if any(map(math.isfinite, part.values)))
    return Measured(one.unit, series, one.within) if series else None


def _panel(
    one: Measured,
    axis: Axis,
    across: Scale,
    top: float,
    bottom: float,
    number: int,
) -> Panel:
    values = [value for part in one.series for value in part.values]
    upwards = Scale.close([*values, *one.within], bottom, top)
    curves = []
    for index, part in enumerate(one.series):
        path, points, pen = "", [], "M"
        for x, name, value in zip(axis.places, axis.names, part.values, strict=True):
            if not math.isfinite(value):
                pen = "M"
                continue
            at = across.place(x), upwards.place(value)
            path += f"{pen}{at[0]} {at[1]}"
            points.append((*at, f"{part.name} at {name}: {_number(value)}"))
            pen = "L"
        curves.append(Curve(number + index, path, tuple(points)))
    most = MOST_TICKS if bottom - top > LOW else FEW_TICKS
    ticks = tuple((upwards.place(tick), _number(tick)) for tick in upwards.ticks(most))
    return Panel(one.unit, top, bottom, ticks, tuple(curves))


def _readable(ticks: list[tuple[float, str]]) -> tuple[tuple[float, str], ...]:
    """The ticks whose names do not run into each other; the last one always."""
    kept: list[tuple[float, str]] = []
    for tick in reversed(ticks):
        if not kept or _end(tick, 1) + GAP <= _end(kept[-1], -1):
            kept.append(tick)
    return tuple(reversed(kept))


def _end(tick: tuple[float, str], side: int) -> float:
    return tick[0] + side * LETTER * len(tick[1]) / 2


def _alt(title: str, axis: Axis, series: Sequence[Series]) -> str:
    told = []
    for one in series:
        known = [
            (name, value)
            for name, value in zip(axis.names, one.values, strict=True)
            if math.isfinite(value)
        ]
        (start, first), (end, last) = known[0], known[-1]
        told.append(f"{one.name} from {_number(first)} at {start} to {_number(last)} at {end}")
    return f"Line chart. {title} Along: {axis.along}. {'; '.join(told)}."


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")
