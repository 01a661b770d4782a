"""Class cells: the founding paper's tables, made again on the embedded model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from study.grouped import at_base
from study.matched import matched
from wherefrom.methods import select_methods
from wherefrom.run import execute, make_config, truth_of

BASE = (
    *("gradient_dot", "gradient_cosine", "influence", "datainf", "for_value"),
    *("repsim", "repsim(position=mean_response)", "repsim(position=mean_all)"),
)

PAPER_DATA = "WHEREFROM_PAPER_DATA"
"""Names the folder of the founding paper's sets, which are not ours to hand on."""


def located(task: str) -> str | None:
    """The task's spec on this machine; None where its data is not here."""
    name, _, argument = task.partition(":")
    if name != "paper":
        return task
    root = os.environ.get(PAPER_DATA)
    folder = None if root is None else Path(root) / argument
    return f"paper:{folder}" if folder is not None and folder.is_dir() else None


def compute(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Class match of every method, on the fine-tuned model and on the model before fine-tuning.

    Args:
        settings: `task`, `train`, `queries` (of each class), `seed`, `recipe`, `model`, `finetune`,
            `methods`, `without` (names left out of them), `base` (whether the model before fine-tuning is
            asked too).
        folder: the run's.
    """
    config = make_config(
        "the study",
        model=settings["model"],
        task=located(settings["task"]),
        train_per_class=settings["train"],
        queries_per_class=settings["queries"],
        seed=settings["seed"],
        recipe=settings["recipe"],
        methods=[
            one.spec
            for one in select_methods(settings["methods"])
            if one.spec.partition("(")[0] not in settings["without"]
        ],
        finetune=settings["finetune"] | {"seed": settings["seed"]},
    )
    done = execute(folder / "run", config)
    run = done.run
    truth = truth_of(run)
    assert truth is not None, "tasks carry labels"
    seconds = run.seconds()
    found: dict[str, Any] = {
        "about": {
            "rows": len(run.train),
            "queries": len(run.queries),
            "classes": truth.n_classes,
            "loss": [run.card.entries["fine-tune"][f"loss {end}"] for end in ("first", "last")],
            "behaviour": run.behaviour(),
            "timings": run.card.entries["timings"],
        },
        "methods": {
            one.method: matched(one, truth) | {"seconds": seconds[recipe, one.method]}
            for (recipe, _), one in done.scores.items()
        },
    }
    if settings["base"]:
        found["base"] = {
            one.method: matched(one, truth) for one in at_base(run, folder / "base", BASE)
        }
    return found
