"""The leaderboards: one table for each recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wherefrom.report._data import Key, ReportData
from wherefrom.report._downloads import Sheet, Value
from wherefrom.report._figures import Figures
from wherefrom.report._metrics import label, meaning
from wherefrom.report._names import short
from wherefrom.report._numbers import NOTHING, interval, percent, seconds
from wherefrom.report._table import Cell, Row, order


@dataclass(frozen=True)
class Leaderboard:
    """The table of one recipe.

    Attributes:
        recipe: whose methods are compared.
        queries: how many queries each number averages over.
        heads: names of the columns after the method's.
        rows: methods, best first.
        chance: what a random order of the training rows would score; None where unknown.
    """

    recipe: str
    queries: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]
    chance: tuple[str, ...] | None


def leaderboards(data: ReportData, figures: Figures) -> tuple[Leaderboard, ...]:
    """The tables, in the order of the recipes."""
    return tuple(_leaderboard(recipe, data, figures) for recipe in figures.recipes)


def columns(figures: Figures) -> tuple[tuple[str, str], ...]:
    """Name and meaning of every column whose meaning is known."""
    told = [(label(metric), meaning(metric)) for metric in figures.metrics]
    return (
        *((name, text) for name, text in told if text),
        ("seconds", "time to score all queries, without the passes that methods share."),
        (
            "distinct top rows",
            "how many different training rows come first, of how many queries; beneath it, the row "
            "that does so most often. Few rows on top of everything is a sign of trouble.",
        ),
    )


def board_sheet(data: ReportData, figures: Figures) -> Sheet:
    """All boards as one table; fractions, not percent."""
    metrics = figures.metrics
    names = tuple(f"{metric}{end}" for metric in metrics for end in ("", " low", " high"))
    return Sheet(
        "leaderboard",
        "a line for each recipe and method; fractions, and the ends of 95 % intervals",
        (
            *("recipe", "method", "queries", *names, "seconds"),
            *("distinct top rows", "most frequent top row", "its share"),
        ),
        tuple(_sheet_row(key, data, figures) for key in figures.standing),
    )


def _sheet_row(key: Key, data: ReportData, figures: Figures) -> tuple[Value, ...]:
    mine = [figures.by_cell.get((key, metric)) for metric in figures.metrics]
    ends = [(one.value, one.low, one.high) if one else (None, None, None) for one in mine]
    distinct, _, row, share = data.concentration.get(key, (None, None, None, None))
    return (
        *key,
        max(one.queries for one in mine if one),
        *(end for three in ends for end in three),
        *(data.seconds.get(key), distinct, row, share),
    )


def _leaderboard(recipe: str, data: ReportData, figures: Figures) -> Leaderboard:
    keys = [key for key in figures.standing if key[0] == recipe]
    counts = sorted({figure.queries for figure in figures.all if figure.key[0] == recipe})
    return Leaderboard(
        recipe=short(recipe, 40),
        queries=" to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))),
        heads=(*map(label, figures.metrics), "seconds", "distinct top rows"),
        rows=tuple(_row(key, keys, data, figures) for key in keys),
        chance=_chance(data, figures),
    )


def _row(key: Key, keys: list[Key], data: ReportData, figures: Figures) -> Row:
    taken = data.seconds.get(key)
    return Row(
        method=short(key[1]),
        cells=(
            *(_cell(key, metric, keys, figures) for metric in figures.metrics),
            Cell(seconds(taken), order=order(taken)),
            _concentration(key, data),
        ),
    )


def _cell(key: Key, metric: str, keys: list[Key], figures: Figures) -> Cell:
    figure = figures.by_cell.get((key, metric))
    if figure is None or not math.isfinite(figure.value):
        return Cell(NOTHING)
    others = (figures.value(other, metric) for other in keys)
    return Cell(
        text=percent(figure.value),
        detail=interval(figure.low, figure.high),
        order=order(figure.value),
        best=all(not other > figure.value for other in others),
    )


def _concentration(key: Key, data: ReportData) -> Cell:
    if key not in data.concentration:
        return Cell(NOTHING)
    distinct, of, most_frequent, share = data.concentration[key]
    return Cell(
        text=f"{distinct:,} of {of:,}",
        detail=f"{short(most_frequent, 24)}: {percent(share)} %",
        order=order(float(distinct)),
    )


def _chance(data: ReportData, figures: Figures) -> tuple[str, ...] | None:
    if not any(metric in data.chance for metric in figures.metrics):
        return None
    return tuple(percent(data.chance.get(metric, math.nan)) for metric in figures.metrics)
