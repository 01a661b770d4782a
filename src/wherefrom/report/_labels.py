"""Names beside dots: as many as can be read."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

# Of letters of 11.5 px, on the wide side: a browser's own font is not known here.
LETTER = 6.4
HEIGHT = 13.0
RADIUS = 5.5
MOST = 16
# A name that crosses more intervals than this cannot be read.
MOST_CROSSED = 2
# How far off the first names may stand, tied to their dots by a line; an interval crossed is as bad as
# so many units farther.
FARTHEST = 240
CROSSING = 30.0


@dataclass(frozen=True)
class Box:
    """A rectangle in the drawing's own units; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        """Whether the two overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Whether the other lies wholly within this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )


@dataclass(frozen=True)
class Spot:
    """A dot that would like a name.

    Attributes:
        name: the name.
        x: centre of the dot.
        y: centre of the dot.
        ends: heights of both ends of its interval; None where it has none.
    """

    name: str
    x: float
    y: float
    ends: tuple[float, float] | None


@dataclass(frozen=True)
class Label:
    """A name with its place.

    Attributes:
        tie: both ends of the line to its dot, x and y; None where it stands beside it.
    """

    text: str
    x: float
    y: float
    anchor: str
    tie: tuple[float, float, float, float] | None = None


def labels(
    spots: Sequence[Spot], plot: Box, guides: Sequence[float] = (), first: int = 0
) -> tuple[Label, ...]:
    """Names that overlap no dot and no other name, and cross few intervals.

    Args:
        spots: all dots, most important first.
        plot: what no name may leave.
        guides: heights of the level lines, which are crossed as unwillingly as intervals.
        first: how many of the spots get a name even where there is room only far from them.
    """
    taken = [Box(s.x - RADIUS, s.y - RADIUS, s.x + RADIUS, s.y + RADIUS) for s in spots]
    lines = [Box(s.x - 1, min(s.ends), s.x + 1, max(s.ends)) for s in spots if s.ends]
    lines += [Box(plot.left, y - 1, plot.right, y + 1) for y in guides]
    placed: list[Label] = []
    for index, spot in enumerate(spots):
        if len(placed) == MOST:
            break
        free = []
        for label in [*_beside(spot), *(_aloof(spot) if index < first else [])]:
            box = _box(label)
            if plot.holds(box) and not any(box.meets(other) for other in taken):
                crossed = sum(box.meets(line) for line in lines)
                if crossed <= MOST_CROSSED:
                    free.append((_cost(label, spot, spots, crossed), label, box))
        if free:
            _, label, box = min(free, key=lambda one: one[0])
            placed.append(label)
            taken.append(box)
    return tuple(placed)


def _beside(spot: Spot) -> Iterator[Label]:
    for aside, down in ((9.0, 4.0), (7.0, -6.0), (7.0, 15.0)):
        for side in (1, -1):
            yield _at(spot, side * aside, down)


def _aloof(spot: Spot) -> Iterator[Label]:
    for aside in range(20, FARTHEST, 10):
        for down in range(-FARTHEST, FARTHEST, 10):
            for side in (1, -1):
                label = _at(spot, float(side * aside), down + 4.0)
                end = round(label.x - 2 * side, 1), round(label.y - 4, 1)
                yield replace(label, tie=(spot.x, spot.y, *end))


def _at(spot: Spot, aside: float, down: float) -> Label:
    anchor = "start" if aside > 0 else "end"
    return Label(spot.name, round(spot.x + aside, 1), round(spot.y + down, 1), anchor)


def _box(label: Label) -> Box:
    width = LETTER * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in label.text)
    left = label.x if label.anchor == "start" else label.x - width
    return Box(left, label.y - HEIGHT + 3, left + width, label.y + 3)


def _cost(label: Label, spot: Spot, spots: Sequence[Spot], crossed: int) -> float:
    cost = CROSSING * crossed
    if label.tie:
        x, y, to_x, to_y = label.tie
        # a tie that runs over another dot seems to be that dot's
        passed = sum(
            other != spot and _distance(other.x, other.y, label.tie) < RADIUS for other in spots
        )
        cost += math.hypot(to_x - x, to_y - y) + FARTHEST * passed
    return cost


def _distance(x: float, y: float, line: tuple[float, float, float, float]) -> float:
    start_x, start_y, end_x, end_y = line
    along_x, along_y = end_x - start_x, end_y - start_y
    share = ((x - start_x) * along_x + (y - start_y) * along_y) / (along_x**2 + along_y**2)
    share = min(1.0, max(0.0, share))
    return math.hypot(x - start_x - share * along_x, y - start_y - share * along_y)
