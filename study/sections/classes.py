"""Class match on the embedded model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from study.read import Made, estimate, methods_of, of

PAPER_NUMBERS = {
    "harmful:S": {
        "gradient_dot": (17.5, 54.8),
        "paper_lissa": (17.5, 54.8),
        "datainf": (90.0, 61.4),
    },
    "harmful:L": {
        "gradient_dot": (21.2, 10.7),
        "paper_lissa": (21.2, 10.7),
        "datainf": (10.0, 10.1),
    },
    "emotion": {"gradient_dot": (26.7, 21.8), "datainf": (31.8, 24.6)},
    "grammars": {
        "gradient_dot": (14.0, 12.6),
        "paper_lissa": (15.0, 12.9),
        "datainf": (39.0, 24.4),
    },
    "math": {"gradient_dot": (100.0, 84.5), "paper_lissa": (100.0, 84.5), "datainf": (100.0, 82.5)},
    "backdoor": {"repsim": (99.0, 67.2)},
}
"""Accuracy and coverage in percent of Llama-2-7b, from the scores released with arXiv 2409.19998."""


REACHED = {"accuracy": 0.99, "coverage": 0.95}


def class_tables(made: Sequence[Made]) -> dict[str, Any]:
    """Class match on the embedded model, by task and recipe, beside what the paper reports."""
    found: dict[str, Any] = {}
    for task in dict.fromkeys(one.task for one in made):
        for recipe in ("sound-1", "paper-1"):
            here = [
                one for one in made if one.task == task and one.cell.settings["recipe"] == recipe
            ]
            if not here:
                continue
            lines = {
                name: {
                    metric: estimate(here, of(name, metric))
                    for metric in ("accuracy", "coverage", "ap")
                }
                for name in methods_of(here)
            }
            reaching = [
                name
                for name, line in lines.items()
                if all(line[metric].value >= least for metric, least in REACHED.items())
            ]
            base = {
                name: {
                    metric: estimate(here, of(name, metric, "base"))
                    for metric in ("accuracy", "coverage", "ap")
                }
                for name in methods_of(here, "base")
            }
            found.setdefault(task, {})[recipe] = {
                "seeds": len(here),
                "rows": here[0].found["about"]["rows"],
                "queries": here[0].found["about"]["queries"],
                "classes": here[0].found["about"]["classes"],
                "behaviour": _behaviour(here),
                "methods": lines,
                "reaching": reaching,
                "base": base,
                "paper": PAPER_NUMBERS.get(task.removeprefix("paper:"), {}),
            }
    return found


def _behaviour(made: Sequence[Made]) -> dict[str, float]:
    keys = made[0].found["about"]["behaviour"]
    return {
        key: float(np.mean([one.found["about"]["behaviour"][key] for one in made])) for key in keys
    }
