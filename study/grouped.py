"""Scores that no method of the toolkit gives: of the base model, and of the label itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wherefrom.models import prepare
from wherefrom.run import Run, execute, make_config, truth_of
from wherefrom.scores import Scores

ORACLE = "(class)"


def class_oracle(run: Run) -> Scores:
    """1 for rows of the query's class, else 0: what class match calls perfect."""
    truth = truth_of(run)
    assert truth is not None, "tasks carry labels"
    return Scores(truth.relevance, truth.query_ids, truth.train_ids, ORACLE)


def at_base(run: Run, folder: Path, methods: Sequence[str]) -> list[Scores]:
    """The run's rows and queries, scored on the model as it was before the first step."""
    config = run.config
    assert config.finetune is not None, "cells are fine-tuned"
    adapter = folder / "adapter"
    if not (adapter / "adapter_config.json").is_file():
        prepare(config.model, config.finetune).model.save_pretrained(adapter)
    untrained = make_config(
        "the study",
        model=config.model,
        adapter=str(adapter),
        task=config.task,
        train_per_class=config.train_per_class,
        queries_per_class=config.queries_per_class,
        seed=config.seed,
        recipe=config.recipe,
        methods=list(methods),
    )
    return [found for (_, _), found in execute(folder / "run", untrained).scores.items()]
