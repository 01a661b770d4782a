"""Mechanism cells: the founding paper's three reasons, measured on small models of growing size."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import mechanism_curvature as by_curvature
import mechanism_steps as by_step


def curvature(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Mechanism 1: where λ lies in the spectrum, and how far rankings with and without it agree.

    Args:
        settings: `size` (width and layers), `rank`, `seed`, `exact` (whether the whole curvature matrices
            are formed too).
        folder: the run's.
    """
    width, layers = settings["size"]
    run = by_curvature.small_run(folder.parent, (width, layers), settings["rank"], settings["seed"])
    found = by_curvature.surveyed(run)
    if settings["exact"]:
        found["three"] = by_curvature.three_curvatures(run)
    return {"about": found}


def steps(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Mechanisms 2 and 3: answers, gradients, weights and behaviour at every checkpoint.

    Args:
        settings: `size` (`64x2`), `way`.
        folder: the runs'.
    """
    size, way = settings["size"], settings["way"]
    seeds = by_step.SEEDS if by_step.is_traced(way) else by_step.SEEDS[:1]
    openers = [partial(by_step.small_run, folder, way, size, seed) for seed in seeds]
    by_step.measure(folder, size, way, openers)
    held = json.loads((folder / f"{size}-{way.replace(':', '-')}.json").read_text(encoding="utf-8"))
    return {
        "about": {"parameters": held["parameters"]},
        "checks": {name: one["values"] for name, one in held["checks"].items()},
    }
