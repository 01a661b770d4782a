"""The heat maps of a report, by recipe."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from wherefrom.report._classes import Classes
from wherefrom.report._data import Key, ReportData
from wherefrom.report._heatmap import HeatMap, heat_map
from wherefrom.report._names import short

# Maps that are seen without unfolding.
SHOWN = 6


@dataclass(frozen=True)
class MapGroup:
    """The maps of one recipe, best method first; the later ones are folded."""

    recipe: str
    shown: tuple[HeatMap, ...]
    folded: tuple[HeatMap, ...]


def map_groups(
    data: ReportData, classes: Classes, standing: tuple[Key, ...]
) -> tuple[MapGroup, ...]:
    """A map of every recipe and method.

    Args:
        data: the report's.
        classes: the classes of its rows.
        standing: recipes and methods, best first.
    """
    if not data.train or not data.queries:
        return ()
    recipes = list(dict.fromkeys(recipe for recipe, _ in data.scores))
    order = sorted(standing, key=lambda key: recipes.index(key[0]))
    found = []
    for recipe, keys in groupby(order, key=lambda key: key[0]):
        drawn = tuple(heat_map(key, data, classes) for key in keys)
        found.append(MapGroup(short(recipe, 40), drawn[:SHOWN], drawn[SHOWN:]))
    return tuple(found)
