"""Reading: cells as arrays, and means with intervals over tasks, runs and queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from study.cells import KEPT, Cell
from wherefrom.metrics import Estimate

RESAMPLES = 2000


@dataclass(frozen=True)
class Made:
    """A cell that was computed.

    Attributes:
        cell: which.
        found: its numbers.
        made: when, where and with what.
    """

    cell: Cell
    found: dict[str, Any]
    made: dict[str, Any]

    @property
    def task(self) -> str:
        """The cell's task."""
        return str(self.cell.settings["task"])

    def values(self, method: str, metric: str, part: str = "methods") -> np.ndarray | None:
        """A metric of a method, one number a query; None where the method did not run in the cell."""
        held = self.found.get(part, {}).get(method)
        if held is None or metric not in held:
            return None
        return np.array([np.nan if one is None else one for one in held[metric]], dtype=np.float64)


def read_all(plan: Iterable[Cell], kept: Path = KEPT) -> list[Made]:
    """Every cell of a plan that was computed."""
    found = []
    for cell in plan:
        held = cell.read(kept)
        if held is not None:
            found.append(Made(cell, held["found"], held["made"]))
    return found


Values = Callable[[Made], np.ndarray | None]
"""What a cell says: one number a query, or a single one; None where it says nothing."""


def estimate(
    cells: Sequence[Made], values: Values, seed: int = 0, resamples: int = RESAMPLES
) -> Estimate:
    """The mean over tasks of the mean over their cells of the mean over queries.

    The 95 % interval resamples all three: tasks, then cells of each task drawn, then queries of each cell
    drawn. Queries of a cell share its retrainings, and drawing cells lets that count. With one task or one
    cell of a task there is nothing to draw at that level, and the interval says nothing about it.

    Args:
        cells: where from.
        values: what of each.
        seed: which resamples are drawn.
        resamples: how many; with 0 there is no interval.

    Returns:
        NaN where no cell says anything; the ends too where there is one number alone.
    """
    by_task: dict[str, list[np.ndarray]] = {}
    # resamples are drawn by place, and must not depend on the order that cells come in
    for one in sorted(cells, key=lambda one: one.cell.id):
        found = values(one)
        if found is not None and np.isfinite(found).any():
            by_task.setdefault(one.task, []).append(found[np.isfinite(found)])
    if not by_task:
        return Estimate(np.nan, np.nan, np.nan)
    tasks = list(by_task.values())
    mean = float(np.mean([np.mean([one.mean() for one in task]) for task in tasks]))
    if not resamples or sum(len(one) for task in tasks for one in task) < 2:
        return Estimate(mean, np.nan, np.nan)
    rng = np.random.default_rng(seed)
    # queries × resamples once a cell; which cells and tasks are drawn then picks among the columns
    drawn = [
        np.array([one[rng.integers(len(one), size=(resamples, len(one)))].mean(1) for one in task])
        for task in tasks
    ]
    of_tasks = np.array(
        [
            np.take_along_axis(means, rng.integers(len(means), size=means.shape), 0).mean(0)
            for means in drawn
        ]
    )
    picked = rng.integers(len(tasks), size=of_tasks.shape)
    means = np.take_along_axis(of_tasks, picked, 0).mean(0)
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(mean, float(low), float(high))


def difference(cells: Sequence[Made], first: Values, second: Values, seed: int = 0) -> Estimate:
    """First minus second, paired query by query."""

    def values(one: Made) -> np.ndarray | None:
        a, b = first(one), second(one)
        return None if a is None or b is None else a - b

    return estimate(cells, values, seed)


def of(method: str, metric: str, part: str = "methods") -> Values:
    """A method's metric as `estimate` takes it."""
    return lambda one: one.values(method, metric, part)


def combination(mask: str, spec: str, metric: str) -> Values:
    """A combination of the ablation: its mean over a cell's queries."""
    place = {"lds": 0, "ap": 1}[metric]

    def values(one: Made) -> np.ndarray | None:
        held = one.found.get("ablation", {}).get(mask, {}).get(spec)
        return None if held is None else np.array([held[place]], dtype=np.float64)

    return values


def methods_of(cells: Sequence[Made], part: str = "methods") -> list[str]:
    """Methods that every cell has, in the order of the first."""
    shared: Mapping[str, Any] = cells[0].found.get(part, {}) if cells else {}
    return [name for name in shared if all(name in one.found.get(part, {}) for one in cells)]
