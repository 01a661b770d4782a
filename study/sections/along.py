"""The states of a run, and what the verdict makes of its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from study.plan import ALONG, EMBEDDED, WAYS
from study.read import Made, difference, estimate, of
from study.sections.truth import mean_of_queries
from wherefrom.diagnose import WORDS
from wherefrom.run import DEFAULT_METHOD

SHARES = tuple(i / 20 for i in range(21))
"""Shares of a run's learning rate that curves along it are read at."""


def along(made: Sequence[Made]) -> dict[str, Any]:
    """By way of training: methods at every state of the run, and sums over a few of them."""
    found: dict[str, Any] = {}
    for way in (*WAYS, *EMBEDDED):
        here = [one for one in made if one.cell.settings["way"] == way]
        if not here:
            continue
        names = list(here[0].found["along"][ALONG[0]])
        found[way] = {
            "tasks": sorted({one.task for one in here}),
            "ceiling": float(np.mean([one.found["about"]["ceiling"] for one in here])),
            "curves": {name: [_along_at(here, name, at) for at in SHARES] for name in ALONG},
            "sums": {
                name: {one: estimate(here, of(name, one, "along")) for one in names}
                for name in ALONG
            },
            "gained": {
                name: difference(here, of(name, "middle", "along"), of(name, "final", "along"))
                for name in ALONG
            },
        }
    return found


def _along_at(made: Sequence[Made], name: str, at: float) -> float:
    """Mean over cells of a method's score at a share of the run, between the states beside it."""
    values = []
    for one in made:
        states = one.found["states"][name]
        values.append(
            np.interp(
                at,
                [float(place) for place in states],
                [mean_of_queries(one.values(name, place, "states")) for place in states],
            )
        )
    return float(np.mean(values))


def told(made: Sequence[Made]) -> dict[str, Any]:
    """By way of training: the verdicts on the default method's answers, and what retraining says of it."""
    found: dict[str, Any] = {}
    for way in (*WAYS, *EMBEDDED):
        here = [one for one in made if one.cell.settings["way"] == way]
        if here:
            keys = ("lds", "chance", *WORDS)
            found[way] = {key: estimate(here, of(DEFAULT_METHOD, key)) for key in keys}
            found[way]["answers"] = sum(
                len(one.found["methods"][DEFAULT_METHOD]["lds"]) for one in here
            )
    return found
