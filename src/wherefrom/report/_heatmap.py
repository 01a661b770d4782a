"""Heat maps: the scores of a method, queries × training rows, sorted by class on both axes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from wherefrom.report._classes import Axis, Classes
from wherefrom.report._data import Key, ReportData
from wherefrom.report._matrix import block_mean, normalised
from wherefrom.report._names import short
from wherefrom.report._numbers import counted
from wherefrom.report._png import png_address

# Twice what a map is shown at; more pixels would cost megabytes that no screen shows.
MOST_QUERIES = 240
MOST_ROWS = 480

PLOT_WIDTH = 300
PLOT_HEIGHT = 170
# A class whose band is thinner than a line of text gets no name beside it.
TEXT_HEIGHT = 9.0
TEXT_WIDTH = 12.0


@dataclass(frozen=True)
class Band:
    """One class on one axis: from where to where, and its number (empty where there is no room)."""

    start: float
    length: float
    number: str
    name: str


@dataclass(frozen=True)
class Frame:
    """What all maps share: the bands of the classes, and where a query's class is a row's class.

    Attributes:
        rows: bands of the training rows, left to right.
        queries: bands of the queries, top to bottom.
        diagonal: x, y, width and height of the blocks where the classes match.
        key: number, name, training rows and queries of every class; empty where there is one.
        block: what one pixel stands for; empty where it is one score.
    """

    width: int
    height: int
    rows: tuple[Band, ...]
    queries: tuple[Band, ...]
    diagonal: tuple[tuple[float, float, float, float], ...]
    key: tuple[tuple[int, str, int, int], ...]
    block: str


@dataclass(frozen=True)
class HeatMap:
    """The map of one method.

    Attributes:
        image: PNG as a data address.
        alt: what is seen, in words.
        finding: how far the right class stands out; empty where no class is known.
    """

    method: str
    image: Markup
    alt: str
    finding: str


def frame(classes: Classes) -> Frame:
    """What all maps of a report share."""
    rows = _bands(classes, classes.train, PLOT_WIDTH, TEXT_WIDTH)
    queries = _bands(classes, classes.queries, PLOT_HEIGHT, TEXT_HEIGHT)
    several = len(classes.names) > 1
    spans = zip(classes.names, classes.train.spans, classes.queries.spans, strict=True)
    return Frame(
        width=PLOT_WIDTH,
        height=PLOT_HEIGHT,
        rows=rows if several else (),
        queries=queries if several else (),
        diagonal=tuple(
            (row.start, query.start, row.length, query.length)
            for row, query in zip(rows, queries, strict=True)
            if row.length and query.length
        )[: classes.labelled]
        if several
        else (),
        key=tuple(
            (number, name, b - a, d - c) for number, (name, (a, b), (c, d)) in enumerate(spans, 1)
        )
        if several
        else (),
        block=_block(len(classes.queries.codes), len(classes.train.codes)),
    )


def heat_map(key: Key, data: ReportData, classes: Classes) -> HeatMap:
    """The map of one recipe and method."""
    scores = data.scores[key]
    normal = normalised(scores.values)
    within, outside = _contrast(normal, classes)
    method = short(key[1])
    finding = ""
    seen = ""
    if within is not None and outside is not None:
        finding = f"same class {_sd(within)}, other classes {_sd(outside)}"
        seen = (
            f" Mean normalised score: {_sd(within)} within the query's class, {_sd(outside)} "
            "outside it."
        )
    sorted_ = normal[np.ix_(classes.queries.order, classes.train.order)]
    return HeatMap(
        method=method,
        image=png_address(block_mean(sorted_, MOST_QUERIES, MOST_ROWS)),
        alt=(
            f"Heat map of {method} under {short(key[0], 30)}: "
            f"{counted(len(data.queries), 'query', 'queries')} by "
            f"{counted(len(data.train), 'training row')}, sorted by class.{seen}"
        ),
        finding=finding,
    )


def _contrast(normal: np.ndarray, classes: Classes) -> tuple[float | None, float | None]:
    same = classes.matches()
    labelled = np.ix_(
        classes.queries.codes < classes.labelled, classes.train.codes < classes.labelled
    )
    normal, same = normal[labelled], same[labelled]
    if not same.any() or same.all():
        return None, None
    return float(normal[same].mean()), float(normal[~same].mean())


def _bands(classes: Classes, axis: Axis, length: int, room: float) -> tuple[Band, ...]:
    count = max(1, len(axis.codes))
    bands = []
    for number, (name, (start, end)) in enumerate(zip(classes.names, axis.spans, strict=True), 1):
        size = (end - start) / count * length
        bands.append(
            Band(
                start=round(start / count * length, 2),
                length=round(size, 2),
                number=str(number) if size >= room else "",
                name=short(name, 12) if size >= room else "",
            )
        )
    return tuple(bands)


def _block(queries: int, rows: int) -> str:
    if queries <= MOST_QUERIES and rows <= MOST_ROWS:
        return ""
    tall, wide = max(1, queries / MOST_QUERIES), max(1, rows / MOST_ROWS)
    return f"about {tall:.1f} queries × {wide:.1f} training rows"


def _sd(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")
