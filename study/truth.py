"""Truth cells: a model fine-tuned, every method's scores, and what retraining says of them.

A cell fine-tunes a model on a task, scores the queries by every method, and trains again: on random
halves of the rows (the linear datamodeling score) and without the rows that methods rank first. The
same scores are judged by class match, and by class match under the base model, which never saw a row.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from study.ablation import MASKS, specs_on
from study.bases import base_for
from study.cost import pass_seconds
from study.grouped import ORACLE, at_base, class_oracle
from study.matched import matched
from wherefrom.counterfactual import (
    Asked,
    OutcomeCache,
    Retrainer,
    Workshop,
    leave_top_out,
    retrain_on_subsets,
)
from wherefrom.data import Renderer, get_recipe
from wherefrom.metrics import Retrainings, Truth, lds, noise_ceiling
from wherefrom.run import CounterfactualPlan, Run, ask, execute, make_config, truth_of
from wherefrom.run._ask import spread
from wherefrom.scores import Scores

BASE = (
    *("gradient_dot", "gradient_cosine", "influence", "datainf", "for_value", "rept(halves=unit)"),
    *("repsim", "repsim(position=mean_response)", "repsim(position=mean_all)"),
)


def compute(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """All numbers of a cell.

    Args:
        settings: `task`, `train`, `queries` (of each class), `asked` (queries that are retrained for),
            `seed`, `recipe` of training (`sound-1` where it is not named), `model` (`[width, layers]` or a
            model's name), `finetune`, `methods`, `subsets`, `seeds`, `removal` (`share` of the rows and
            `methods`, or none), `ablation`.
        folder: the run's, and what is retrained.
    """
    run, asked, retrainings = retrained(settings, folder)
    scores = [found for (_, _), found in run.score().items()]
    truth = _asked_truth(run, asked)
    ceiling = noise_ceiling(retrainings)
    found: dict[str, Any] = {
        "about": {
            "rows": len(run.train),
            "queries": len(asked.query_ids),
            "parameters": sum(p.numel() for p in run.model.model.parameters()),
            "loss": [run.card.entries["fine-tune"][f"loss {end}"] for end in ("first", "last")],
            "behaviour": run.behaviour(),
            "ceiling": ceiling.ceiling,
            "agreement": ceiling.agreement,
            "timings": run.card.entries["timings"],
        },
        "methods": {
            one.method: judged(asked.own(one), retrainings, truth)
            | ({} if one.method == ORACLE else _cost(run, one.method))
            for one in [*scores, class_oracle(run)]
        },
    }
    if settings["finetune"].get("mode") != "full":
        found["base"] = {
            one.method: judged(asked.own(one), retrainings, truth)
            for one in at_base(run, folder / "base", BASE)
        }
    if settings["removal"]:
        found["removal"] = removals(asked, scores, **settings["removal"])
    if settings["ablation"]:
        found["ablation"] = ablation(run, asked, retrainings, truth)
    return found


def retrained(settings: dict[str, Any], folder: Path) -> tuple[Run, Asked, Retrainings]:
    """The run of a cell, ready to be trained again, and what training it on random halves did."""
    run = finetuned(settings, folder)
    asked = asked_of(run, settings)
    return run, asked, retrain_on_subsets(asked, settings["subsets"], 0.5)


def finetuned(settings: dict[str, Any], folder: Path) -> Run:
    """The run of a cell: fine-tuned, indexed and scored."""
    model = settings["model"]
    if not isinstance(model, str):
        model = str(base_for(settings["task"], model[0], model[1], folder.parent.parent))
    config = make_config(
        "the study",
        model=model,
        task=settings["task"],
        train_per_class=settings["train"],
        queries_per_class=settings["queries"],
        seed=settings["seed"],
        recipe=recipe_of(settings),
        methods=settings["methods"],
        finetune=settings["finetune"] | {"seed": settings["seed"]},
        index={"draws": 16},
    )
    return execute(folder / "run", config).run


def recipe_of(settings: dict[str, Any]) -> str:
    """The recipe that the cell's model is trained under."""
    return str(settings.get("recipe", MASKS[0]))


def asked_of(run: Run, settings: dict[str, Any]) -> Asked:
    """Ready to train the run again; whatever it was trained on, it is asked for the response alone."""
    plan = CounterfactualPlan(seeds=settings["seeds"], queries=settings["asked"])
    asked, _ = ask(run, plan)
    if recipe_of(settings) == MASKS[0]:
        return asked
    config = run.config
    assert config.finetune is not None, "cells are fine-tuned"
    tokenizer, queries = run.model.tokenizer, spread(run.queries, settings["asked"])
    retrainer = Retrainer(
        config.model,
        Renderer(tokenizer, config.recipes()[0]).render_all(run.train),
        Renderer(tokenizer, get_recipe(MASKS[0])).render_all(queries),
        config.finetune,
        trajectory=run.trajectory,
    )
    return replace(asked, workshop=Workshop(retrainer, OutcomeCache(run.path / "outcomes")))


def judged(scores: Scores, retrainings: Retrainings, truth: Truth) -> dict[str, list[float]]:
    """One number for each query: the linear datamodeling score, and class match."""
    return {"lds": lds(scores, retrainings).tolist()} | matched(scores, truth)


def removals(
    asked: Asked, scores: list[Scores], share: float, methods: list[str]
) -> dict[str, Any]:
    """For each method, what leaving out its top rows costs every query beyond random rows."""
    chosen = [one for one in scores if one.method in methods]
    k = max(2, round(share * len(asked.train_ids)))
    found = leave_top_out(asked, chosen, [k])
    return {
        method: {"k": k, "excess": drop.excess.tolist(), "beyond": (drop.p_value <= 0.05).tolist()}
        for (method, _), drop in found.items()
    }


def ablation(run: Run, asked: Asked, retrainings: Retrainings, truth: Truth) -> dict[str, Any]:
    """LDS and average precision of every combination, means over queries, by mask and method."""
    others = tuple(mask for mask in MASKS if mask != run.config.recipe)
    trained = [name for name, p in run.model.model.named_parameters() if p.requires_grad]
    specs = specs_on(trained)
    changed = run.changed(run.config.model_copy(update={"also": others, "methods": specs}))
    changed.index()
    found: dict[str, Any] = {mask: {} for mask in MASKS}
    for (mask, spec), scores in changed.score().items():
        values = judged(asked.own(scores), retrainings, truth)
        found[mask][spec] = [round(float(np.nanmean(values[key])), 3) for key in ("lds", "ap")]
    return found


def _cost(run: Run, method: str) -> dict[str, float | None]:
    scoring = run.seconds().get((run.config.recipe, method))
    return {"scoring": scoring, "passes": pass_seconds(run, method)}


def _asked_truth(run: Run, asked: Asked) -> Truth:
    truth = truth_of(run)
    assert truth is not None, "tasks carry labels"
    places = [truth.query_ids.index(id) for id in asked.query_ids]
    return replace(truth, relevance=truth.relevance[places], query_ids=asked.query_ids)
