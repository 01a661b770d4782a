"""Every method against retraining."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from study import choice
from study.grouped import ORACLE
from study.plan import REMOVED, WAYS, side_of
from study.read import Made, difference, estimate, methods_of, of
from study.sections.shown import SHOWN
from wherefrom.methods import parse_method
from wherefrom.run import DEFAULT_METHOD


def grid(made: Sequence[Made]) -> dict[str, Any]:
    """Every method against retraining: on all cells, and by task and way of training."""
    if not made:
        return {}
    names = methods_of(made)
    return {
        "methods": {
            name: {
                "all": estimate(made, of(name, "lds")),
                "ap": estimate(made, of(name, "ap")),
                "family": family_of(name),
                "cost": None if name == ORACLE else choice.cost_of(name),
                "by_task": _by(made, name, lambda one: one.task),
                "by_way": _by(made, name, lambda one: str(one.cell.settings["way"])),
            }
            for name in names
        },
        "runs": [
            {
                "cell": one.cell.name,
                "task": one.task,
                "side": side_of(one.task),
                "way": one.cell.settings["way"],
                "rows": one.found["about"]["rows"],
                "loss": one.found["about"]["loss"],
                "ceiling": one.found["about"]["ceiling"],
                "default": mean_of_queries(one.values(DEFAULT_METHOD, "lds")),
            }
            for one in made
        ],
        "ceiling": {
            way: float(
                np.mean(
                    [o.found["about"]["ceiling"] for o in made if o.cell.settings["way"] == way]
                )
            )
            for way in WAYS
            if any(one.cell.settings["way"] == way for one in made)
        },
        "ways": {
            way: {
                name: estimate(here, of(name, "lds"))
                for name in dict.fromkeys([DEFAULT_METHOD, *SHOWN])
                if name in names
            }
            for way in WAYS
            if (
                here := [
                    one
                    for one in made
                    if one.cell.settings["way"] == way and side_of(one.task) == "reported"
                ]
            )
        },
        "removal": {
            name: {
                "excess": estimate(made, of(name, "excess", "removal")),
                "beyond": estimate(made, of(name, "beyond", "removal")),
                "lead": difference(
                    made,
                    of(DEFAULT_METHOD, "excess", "removal"),
                    of(name, "excess", "removal"),
                ),
            }
            for name in REMOVED
            if any(name in one.found.get("removal", {}) for one in made)
        },
    }


def _by(made: Sequence[Made], name: str, key: Callable[[Made], str]) -> dict[str, float]:
    groups: dict[str, list[Made]] = {}
    for one in made:
        groups.setdefault(key(one), []).append(one)
    return {
        group: estimate(here, of(name, "lds"), resamples=0).value for group, here in groups.items()
    }


def family_of(name: str) -> str:
    """The family that figures colour a method by."""
    return "class" if name == ORACLE else str(parse_method(name).family)


def mean_of_queries(values: np.ndarray | None) -> float:
    """The mean over the queries that say something."""
    return float("nan") if values is None else float(np.nanmean(values))
