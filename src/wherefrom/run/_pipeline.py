"""The main job: rows → fine-tune → pass → scores → evaluation, in one run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.run._config import RunConfig
from wherefrom.run._evaluation import Key, distinct_line, evaluate_run
from wherefrom.run._run import Run
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Finished:
    """A run that has been through every stage.

    Attributes:
        run: the run.
        scores: by recipe and method.
        evaluation: one line for each recipe, method and metric; empty without labels.
    """

    run: Run
    scores: dict[Key, Scores]
    evaluation: pd.DataFrame

    def leaderboard(self) -> pd.DataFrame:
        """The evaluation, and for each method the share of distinct rows among those ranked first."""
        import pandas as pd

        if self.evaluation.empty:
            return self.evaluation
        lines = [
            distinct_line(scores) | {"recipe": recipe}
            for (recipe, _), scores in self.scores.items()
        ]
        return pd.concat([self.evaluation, pd.DataFrame(lines)], ignore_index=True)


def execute(path: Path, config: RunConfig, *, restart: bool = False) -> Finished:
    """Does the whole job; what an earlier run of the same config finished is not done again.

    Args:
        path: the run folder.
        config: what to do.
        restart: capture signals anew.
    """
    run = Run.create(path, config)
    run.finetune()
    run.index(restart=restart)
    run.behaviour()
    scores = run.score()
    return Finished(run, scores, evaluate_run(run, scores))
