"""The three reasons that the founding paper names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from study.read import Made

TRACED = "influence"
"""The method that the mechanisms' cells follow along training."""


def mechanisms(made: Sequence[Made]) -> dict[str, Any]:
    """The paper's three reasons, one line a size of model."""
    curved = [one for one in made if one.cell.name.startswith("curvature-")]
    found: dict[str, Any] = {"curvature": [], "three": [], "steps": []}
    for size in dict.fromkeys(tuple(one.cell.settings["size"]) for one in curved):
        for rank in (1, 4):
            here = [
                one
                for one in curved
                if tuple(one.cell.settings["size"]) == size and one.cell.settings["rank"] == rank
            ]
            if not here:
                continue
            abouts = [one.found["about"] for one in here]
            found["curvature"].append(
                {
                    "size": f"{size[0]}x{size[1]}",
                    "rank": rank,
                    "seeds": len(here),
                    "parameters": abouts[0]["parameters"],
                    **{
                        rule: {
                            "spearman": _mean_of(abouts, rule, "agreement", "plain", "spearman"),
                            "above": _mean_of(abouts, rule, "blocks", "query_energy"),
                            "dimension": _mean_of(abouts, rule, "blocks", "effective_dimension"),
                        }
                        for rule in ("nonzero", "mean")
                    },
                }
            )
            for about in abouts:
                exact = about.get("three", {}).get("nonzero, block")
                if exact:
                    found["three"].append(
                        {"size": f"{size[0]}x{size[1]}", "spearman": exact["spearman"]}
                    )
    for one in made:
        if not one.cell.name.startswith("steps-"):
            continue
        held = one.found["checks"]
        line = {
            "size": one.cell.settings["size"],
            "way": one.cell.settings["way"],
            "parameters": one.found["about"]["parameters"],
            "norm": held["behaviour"]["relations"]["norm_growth"],
            "behaviour": held["behaviour"]["behaviour"],
            "kl": held["behaviour"]["relations"]["kl"]["spearman"],
            "log_probability": held["behaviour"]["log_probability"],
        }
        if "convergence" in held:
            lead = held["convergence"]["methods"][TRACED]
            half = int(
                np.argmin(
                    np.abs(
                        np.array(held["convergence"]["steps"]) / held["convergence"]["steps"][-1]
                        - 0.5
                    )
                )
            )
            line["half"] = lead["overlap"][half]
            line["seeds"] = float(np.mean(held["seeds"]["overlap"]))
            line["gradient"] = held["convergence"]["coherence"][-1]
            line["unrelated"] = held["convergence"]["unrelated_coherence"]
        found["steps"].append(line)
    return found


def _mean_of(abouts: Sequence[dict[str, Any]], *path: str) -> float:
    found = []
    for about in abouts:
        value: Any = about
        for key in path:
            value = value[key]
        found.append(float(value))
    return float(np.mean(found))
