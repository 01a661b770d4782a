"""Attribution or retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from study.grouped import ORACLE
from study.read import Made, difference, estimate, methods_of, of
from study.sections.shown import CHANCE, SHOWN


def retrieval(made: Sequence[Made]) -> dict[str, Any]:
    """Attribution or retrieval: class match and truth, of the tuned model and of the base model."""
    if not made:
        return {}
    found: dict[str, Any] = {"base": {}, "twins": {}}
    adapted = [one for one in made if "base" in one.found]
    for name in methods_of(adapted, "base"):
        found["base"][name] = {
            metric: {
                "tuned": estimate(adapted, of(name, metric)),
                "base": estimate(adapted, of(name, metric, "base")),
                "gain": difference(adapted, of(name, metric), of(name, metric, "base")),
            }
            for metric in ("ap", "lds")
        }
    twins = [one for one in made if one.task == "twins"]
    for name in [name for name in SHOWN if name in methods_of(twins)]:
        found["twins"][name] = {
            "ap": estimate(twins, of(name, "ap")),
            "lds": estimate(twins, of(name, "lds")),
        }
    names = [name for name in methods_of(made) if name not in (ORACLE, CHANCE)]
    ap = [estimate(made, of(name, "ap"), resamples=0).value for name in names]
    lds = [estimate(made, of(name, "lds"), resamples=0).value for name in names]
    found["agreement"] = float(spearmanr(np.round(ap, 6), np.round(lds, 6)).statistic)
    return found
