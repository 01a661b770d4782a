"""The scale of predicted removals, where models of this run were retrained on parts of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from wherefrom.answers import Calibration, calibrate, with_calibration
from wherefrom.atomic import file_name
from wherefrom.counterfactual import read_outcome
from wherefrom.errors import WherefromError
from wherefrom.methods import predicts_removal
from wherefrom.run._evaluation import RETRAININGS, retrainings_of
from wherefrom.scores import Scores, read_scores

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def calibrated(run: Run, scores: Sequence[Scores]) -> list[Scores]:
    """Scores with what `wherefrom counterfactual` of the run says of the size of predicted removals.

    Of a run that was never retrained, or a method that it did not score then, they stay as they are.

    Args:
        run: whose.
        scores: of its first recipe, any queries.
    """
    if not any(predicts_removal(one.unit) for one in scores):
        return list(scores)
    return [with_calibration(one, _known(run, one)) for one in scores]


def _known(run: Run, scores: Scores) -> Calibration | None:
    recipe = run.config.recipes()[0]
    path = run.path / "scores" / recipe.name / f"{file_name(scores.method)}.parquet"
    if not predicts_removal(scores.unit) or recipe.reduction != "mean" or not path.is_file():
        return None
    try:
        found = retrainings_of(run)
        if found is None or read_outcome(run.path / RETRAININGS) != "log_probability":
            return None
        return calibrate(read_scores(path), found)
    except WherefromError:
        # made for other queries or rows: it says nothing of these scores
        return None
