"""Verdict cells: whether the toolkit's verdict on an answer knows what retraining says of the method."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.truth import retrained
from wherefrom.diagnose import WORDS
from wherefrom.metrics import lds
from wherefrom.run import CheckPlan, check


def compute(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The verdict on the answer to every query, beside the method's score by retraining for that query.

    Args:
        settings: those of another cell, `run`, its id, and `methods`, the first judged.
        folder: the cell's; the run and its retrainings are the other's.
    """
    run, asked, retrainings = retrained(settings, folder.parent.parent / settings["run"])
    method = settings["methods"][0]
    scores = next(one for (_, spec), one in run.score().items() if spec == method)
    plan = CheckPlan(method, queries=settings["asked"], randomised=False, checks=("weights",))
    verdicts = {one.query: one.verdict for one in check(run, plan).traces}
    ordered = [verdicts[id] for id in asked.query_ids]
    return {
        "methods": {
            method: {
                "lds": lds(asked.own(scores), retrainings).tolist(),
                "chance": [one.number for one in ordered],
            }
            | {word: [float(one.word == word) for one in ordered] for word in WORDS}
        }
    }
