"""Figures: the evaluation as typed records, and the order it puts the methods in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from wherefrom.report._data import Key, ReportData


@dataclass(frozen=True)
class Figure:
    """One metric of one method under one recipe; a fraction with its 95 % interval."""

    key: Key
    metric: str
    value: float
    low: float
    high: float
    queries: int


@dataclass(frozen=True)
class Figures:
    """All figures of an evaluation, by recipe and method, and by metric."""

    all: tuple[Figure, ...]

    @classmethod
    def of(cls, data: ReportData) -> Figures:
        """The figures of a report's evaluation, in its order."""
        if data.evaluation.empty:
            return cls(())
        frame = data.evaluation
        columns = (frame[name].tolist() for name in ("recipe", "method", "metric"))
        numbers = (frame[name].astype(float).tolist() for name in ("value", "low", "high"))
        counts = frame["queries"].fillna(0).astype(int).tolist()
        return cls(
            tuple(
                Figure((str(recipe), str(method)), str(metric), value, low, high, queries)
                for recipe, method, metric, value, low, high, queries in zip(
                    *columns, *numbers, counts, strict=True
                )
            )
        )

    @cached_property
    def metrics(self) -> tuple[str, ...]:
        """The metrics, in order of appearance."""
        return tuple(dict.fromkeys(figure.metric for figure in self.all))

    @cached_property
    def recipes(self) -> tuple[str, ...]:
        """The recipes, in order of appearance."""
        return tuple(dict.fromkeys(figure.key[0] for figure in self.all))

    @cached_property
    def by_cell(self) -> dict[tuple[Key, str], Figure]:
        """Each figure under its recipe and method, and its metric."""
        return {(figure.key, figure.metric): figure for figure in self.all}

    @cached_property
    def standing(self) -> tuple[Key, ...]:
        """Recipes and methods from best to worst: by the first metric, ties by the next ones."""
        keys = dict.fromkeys(figure.key for figure in self.all)
        return tuple(sorted(keys, key=self._strength, reverse=True))

    def value(self, key: Key, metric: str) -> float:
        """The value of a cell; NaN where there is none."""
        figure = self.by_cell.get((key, metric))
        return figure.value if figure else math.nan

    def best(self, metric: str) -> Figure | None:
        """The figure that leads on a metric; None where no value is known."""
        known = [
            self.by_cell[key, metric]
            for key in self.standing
            if math.isfinite(self.value(key, metric))
        ]
        return max(known, key=lambda figure: figure.value, default=None)

    def _strength(self, key: Key) -> tuple[float, ...]:
        values = (self.value(key, metric) for metric in self.metrics)
        return tuple(value if math.isfinite(value) else -math.inf for value in values)


def standing(data: ReportData, figures: Figures) -> tuple[Key, ...]:
    """Every scored recipe and method: the evaluated ones best first, then the others as given."""
    judged = [key for key in figures.standing if key in data.scores]
    return tuple(dict.fromkeys([*judged, *data.scores]))
