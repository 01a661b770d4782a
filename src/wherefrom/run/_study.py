"""Study: tasks × recipes × seeds, each a run of its own, and one table over all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.metrics import list_metrics, per_query, pooled_interval
from wherefrom.progress import say
from wherefrom.run._config import make_config
from wherefrom.run._evaluation import distinct_line, truth_of, write_frame
from wherefrom.run._pipeline import Finished, execute

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("task", "recipe", "method", "metric", "value", "low", "high", "seeds", "queries")


@dataclass(frozen=True)
class StudyPlan:
    """What a study runs.

    Attributes:
        tasks: task specs.
        recipes: recipes; each has a fine-tuned model of its own, trained under its own mask.
        seeds: how many seeds, from 0.
        settings: everything else of a run's config.
    """

    tasks: tuple[str, ...]
    recipes: tuple[str, ...]
    seeds: int
    settings: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.tasks or not self.recipes or self.seeds < 1:
            raise SettingError("a study needs at least one task, one recipe and one seed.")


def study(
    plan: StudyPlan, out: Path, finished: Callable[[Finished], None] | None = None
) -> pd.DataFrame:
    """Runs every combination and judges each method over all seeds.

    Finished runs are taken as they are, so an interrupted study goes on where it stopped. Writes
    `study.parquet`.

    Args:
        plan: what to run.
        out: a folder; each run is a folder in it.
        finished: told of every run that is done.

    Returns:
        One line for each task, recipe, method and metric: the mean over seeds and queries, and a 95 %
        interval from resampling both; `queries` is their number in each seed.
    """
    import pandas as pd

    lines: list[tuple[Any, ...]] = []
    for task in plan.tasks:
        for recipe in plan.recipes:
            values: dict[tuple[str, str], list[np.ndarray]] = {}
            for seed in range(plan.seeds):
                name = f"{_folder(task)}-{recipe}-seed{seed}"
                say(f"study: {name}")
                done = execute(out / name, _config(plan, task, recipe, seed))
                _collect(done, values)
                if finished is not None:
                    finished(done)
            queries = max(len(found) for seeds in values.values() for found in seeds)
            for (method, metric), seeds in values.items():
                mean, low, high = pooled_interval(seeds)
                lines.append((task, recipe, method, metric, mean, low, high, len(seeds), queries))
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    write_frame(frame, out / "study.parquet")
    return frame


def _config(plan: StudyPlan, task: str, recipe: str, seed: int) -> Any:
    entries = dict(plan.settings)
    tuning = dict(entries.pop("finetune", {})) | {"seed": seed}
    return make_config("the study", **entries, task=task, recipe=recipe, seed=seed, finetune=tuning)


def _collect(done: Finished, values: dict[tuple[str, str], list[np.ndarray]]) -> None:
    truth = truth_of(done.run)
    assert truth is not None, "tasks carry labels"
    for scores in done.scores.values():
        for metric in list_metrics():
            found = values.setdefault((scores.method, metric), [])
            found.append(per_query(scores, truth, metric))
        share = values.setdefault((scores.method, "distinct_top1"), [])
        # one number a ranking, not one a query: it has no interval
        share.append(np.array([distinct_line(scores)["value"]]))


def _folder(task: str) -> str:
    name, _, argument = task.partition(":")
    tail = Path(argument).name if argument else ""
    return f"{name}-{tail}" if tail else name
