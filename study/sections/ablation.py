"""How much every choice accounts for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from study import factors
from study.ablation import MASKS
from study.plan import TRAINED_ON
from study.read import Made, estimate
from wherefrom.metrics import Estimate


def ablation(made: Sequence[Made]) -> dict[str, Any]:
    """How much every choice accounts for, and the mean at each of its levels."""
    here = [one for one in made if "ablation" in one.found]
    if not here:
        return {}
    found: dict[str, Any] = {"cells": len(here)}
    for metric in ("lds", "ap"):
        by_cell = factors.shares_by_cell(here, metric)
        ends = {
            "paper": factors.mean_of(here, metric, factors.PAPER),
            "ours": factors.mean_of(here, metric, factors.OURS),
        }
        found[metric] = {
            "shares": {name: _over_tasks(here, values) for name, values in by_cell.items()},
            "ends": ends,
            "levels": {
                name: {level: _over_tasks(here, list(v)) for level, v in by_level.items()}
                for name, by_level in factors.levels(here, metric).items()
            },
            "best": [factors.best(here, metric)[0]._asdict(), factors.best(here, metric)[1]],
        }
    return found


def masks(made: Sequence[Made]) -> dict[str, Any]:
    """The default under every mask, by what the model was trained on."""
    found = {}
    for name in TRAINED_ON:
        here = [one for one in made if one.cell.name.endswith(f"-{name}")]
        if here:
            found[name] = {
                "ceiling": float(np.mean([one.found["about"]["ceiling"] for one in here])),
                "lds": {
                    mask: factors.mean_of(here, "lds", factors.OURS._replace(mask=mask))
                    for mask in MASKS
                },
            }
    return found


def _over_tasks(made: Sequence[Made], values: Sequence[float]) -> Estimate:
    by_name = {one.cell.id: value for one, value in zip(made, values, strict=True)}
    return estimate(made, lambda one: np.array([by_name[one.cell.id]]))
