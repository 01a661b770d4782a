"""How much each choice accounts for: the way from the paper's setting to ours, one choice at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np

from study.ablation import MASKS, Setting, settings_of, spec_of
from study.read import Made, combination, estimate
from wherefrom.metrics import Estimate
from wherefrom.run import AT_THE_END

PAPER = Setting("paper-1", "datainf", "paper", "none", "all")
"""The founding paper's Hessian-based setting; its loss counts pads and prompts."""
OURS = Setting(
    "sound-1",
    "true" if "curvature=true" in AT_THE_END else "fisher",
    damping="1",
    normalise="none",
    layers="all",
)
"""What `sound-1` and the default method come to at the final model."""


def shares(score: Callable[[Setting], float], start: Setting, end: Setting) -> dict[str, float]:
    """Shapley values of the factors in which two settings differ.

    The gain of changing a factor, averaged over every order in which the factors can be changed; they add
    up to score(end) − score(start) (Shapley 1953).
    """
    changed = [name for name in Setting._fields if getattr(start, name) != getattr(end, name)]
    known: dict[Setting, float] = {}

    def value(one: Setting) -> float:
        if one not in known:
            known[one] = score(one)
        return known[one]

    found = dict.fromkeys(changed, 0.0)
    orders = list(permutations(changed))
    for order in orders:
        here = start
        for name in order:
            there = here._replace(**{name: getattr(end, name)})
            found[name] += (value(there) - value(here)) / len(orders)
            here = there
    return found


def shares_by_cell(
    cells: Sequence[Made], metric: str, start: Setting = PAPER, end: Setting = OURS
) -> dict[str, list[float]]:
    """By factor, its share in every cell that has the ablation."""
    found: dict[str, list[float]] = {}
    for cell in cells:
        if "ablation" not in cell.found:
            continue
        for name, share in shares(_score(cell, metric), start, end).items():
            found.setdefault(name, []).append(share)
    return found


def levels(cells: Sequence[Made], metric: str) -> dict[str, dict[str, np.ndarray]]:
    """By factor and level, the mean over all combinations that have it, one number a cell."""
    every = [one for mask in MASKS for one in settings_of(mask)]
    found: dict[str, dict[str, list[float]]] = {name: {} for name in Setting._fields}
    for cell in cells:
        if "ablation" not in cell.found:
            continue
        score = _score(cell, metric)
        values = {one: score(one) for one in every}
        for name in Setting._fields:
            for level in dict.fromkeys(getattr(one, name) for one in every):
                # without curvature there is no damping to compare
                here = [v for one, v in values.items() if getattr(one, name) == level]
                found[name].setdefault(level, []).append(float(np.mean(here)))
    return {
        name: {level: np.array(v) for level, v in by_level.items()}
        for name, by_level in found.items()
    }


def mean_of(cells: Sequence[Made], metric: str, one: Setting) -> Estimate:
    """One combination's mean over tasks."""
    return estimate(cells, combination(one.mask, spec_of(one), metric))


def _score(cell: Made, metric: str) -> Callable[[Setting], float]:
    def score(one: Setting) -> float:
        found = combination(one.mask, spec_of(one), metric)(cell)
        assert found is not None, f"{cell.cell.id} lacks {one}"
        return float(found[0])

    return score


def best(cells: Sequence[Made], metric: str) -> tuple[Setting, float]:
    """The combination with the highest mean over tasks."""
    every = [one for mask in MASKS for one in settings_of(mask)]
    means = {
        one: round(
            estimate(cells, combination(one.mask, spec_of(one), metric), resamples=0).value, 6
        )
        for one in every
    }
    top = max(means, key=means.__getitem__)
    return top, means[top]
