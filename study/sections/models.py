"""Methods against retraining by the model that is fine-tuned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from study import factors
from study.plan import ADAPTERS, LADDER
from study.read import Made, difference, estimate, methods_of, of
from study.sections.shown import SCALED
from wherefrom.run import DEFAULT_METHOD


def large(made: Sequence[Made]) -> dict[str, Any]:
    """The embedded model against retraining, and what each method costs on it."""
    return {
        one.cell.name: {
            "task": one.task,
            "rows": one.found["about"]["rows"],
            "queries": one.found["about"]["queries"],
            "loss": one.found["about"]["loss"],
            "behaviour": one.found["about"]["behaviour"],
            "ceiling": one.found["about"]["ceiling"],
            "methods": {
                name: {
                    "lds": estimate([one], of(name, "lds")),
                    "ap": estimate([one], of(name, "ap")),
                    "lead": difference([one], of(DEFAULT_METHOD, "lds"), of(name, "lds")),
                    "cost": one.found["methods"][name].get("passes"),
                    "scoring": one.found["methods"][name].get("scoring"),
                }
                for name in methods_of([one])
            },
            "shares": {metric: factors.shares_by_cell([one], metric) for metric in ("lds", "ap")},
            "ends": {
                metric: {
                    "paper": factors.mean_of([one], metric, factors.PAPER),
                    "ours": factors.mean_of([one], metric, factors.OURS),
                }
                for metric in ("lds", "ap")
            },
        }
        for one in made
    }


def ladder(made: Sequence[Made]) -> list[dict[str, Any]]:
    """Methods against retraining by size of the model."""
    found = []
    for size in LADDER:
        here = [one for one in made if tuple(one.cell.settings["model"]) == size]
        if here:
            found.append(
                {
                    "size": f"{size[0]}x{size[1]}",
                    "parameters": float(np.mean([o.found["about"]["parameters"] for o in here])),
                    "tasks": [one.task for one in here],
                    "loss": [one.found["about"]["loss"] for one in here],
                    **_scaled(here),
                }
            )
    return found


def adapters(made: Sequence[Made]) -> dict[str, Any]:
    """Methods against retraining by what is fine-tuned: all weights, or LoRA of a rank."""
    found = {}
    for name in ADAPTERS:
        here = [one for one in made if one.cell.name.endswith(name)]
        if here:
            found[name] = _scaled(here)
    return found


def _scaled(made: Sequence[Made]) -> dict[str, Any]:
    return {
        "ceiling": float(np.mean([one.found["about"]["ceiling"] for one in made])),
        "methods": {
            name: estimate(made, of(name, "lds")) for name in SCALED if name in methods_of(made)
        },
    }
