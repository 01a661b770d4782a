"""The behaviour check: does the model do what it was taught, and did it before?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherefrom.data import Renderer
from wherefrom.models import LoadedModel, generate
from wherefrom.run._references import base_model

if TYPE_CHECKING:
    from wherefrom.run._run import Run
    from wherefrom.tasks import Task

BEFORE, AFTER = "before fine-tuning", "after fine-tuning"


def behaviour(run: Run) -> dict[str, float]:
    """Share of the queries that show the taught behaviour, before and after fine-tuning."""
    known: dict[str, float] = run.card.entries.get("behaviour", {})
    if known or run.task is None or not run.queries:
        return known
    with run.card.timed("behaviour check"):
        with base_model(run) as base:
            before = behaving_share(run, run.task, base, "behaviour before")
        after = behaving_share(run, run.task, run.model, "behaviour after")
    run.card.set("behaviour", {BEFORE: before, AFTER: after})
    return dict(run.card.entries["behaviour"])


def behaving_share(run: Run, task: Task, loaded: LoadedModel, label: str) -> float:
    """Share of a task's queries whose greedy answer shows the taught behaviour.

    Args:
        run: whose recipe renders the prompts.
        task: with at least one query.
        loaded: the model in the state that is asked.
        label: for the progress bar.
    """
    renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
    prompts = [renderer.prompt_ids(query) for query in task.queries]
    answers = generate(loaded, prompts, task.max_new_tokens, label=label)
    hits = [task.behaves(q, a) for q, a in zip(task.queries, answers, strict=True)]
    return sum(hits) / len(hits)
