"""Evaluation: every method of a run, and anyone's scores, judged by every metric that fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.atomic import atomic_path, file_name
from wherefrom.counterfactual import read_retrainings
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.metrics import Concentration, Retrainings, Truth, concentration, evaluate
from wherefrom.progress import say
from wherefrom.run._judgement import (
    Line,
    class_lines,
    judge,
    judgement_frame,
    mislabelled_lines,
    mislabelled_share,
    randomisation_lines,
)
from wherefrom.run._judgement import distinct_line as distinct_line
from wherefrom.run._randomised import randomised_scores
from wherefrom.run._run import Run
from wherefrom.run._self_influence import mislabelled_flags, self_influence
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

    from wherefrom.data import Recipe

Key = tuple[str, str]
RETRAININGS = Path("counterfactual") / "retrainings.safetensors"


def truth_of(run: Run) -> Truth | None:
    """What the run's queries should find; None where no row of theirs carries a label.

    Raises:
        DataError: some rows carry a label and others do not, or a query's class has no training row.
    """
    return truth_of_rows(run.train, run.queries)


def truth_of_rows(train: Sequence[Example], queries: Sequence[Example]) -> Truth | None:
    """What queries should find; None where there are none, or no row carries a label.

    Raises:
        DataError: some rows carry a label and others do not, or a query's class has no training row.
    """
    if not queries or all(row.label is None for row in (*train, *queries)):
        return None
    return Truth.from_labels(train, queries)


def retrainings_of(run: Run) -> Retrainings | None:
    """What `wherefrom counterfactual` found on subsets of the run's rows; None before it.

    Raises:
        DataError: the file is damaged.
    """
    path = run.path / RETRAININGS
    return read_retrainings(path) if path.is_file() else None


def evaluate_run(run: Run, scores: dict[Key, Scores]) -> pd.DataFrame:
    """Judges scores by labels and writes `evaluation.parquet`.

    Returns:
        One line for each recipe, method and metric, with a 95 % interval over queries; empty where
        rows carry no labels.
    """
    import pandas as pd

    truth = truth_of(run)
    if truth is None:
        return pd.DataFrame()
    frames = [
        evaluate(values, truth).assign(recipe=recipe) for (recipe, _), values in scores.items()
    ]
    frame = pd.concat(frames, ignore_index=True)
    write_frame(frame, run.path / "evaluation.parquet")
    return frame


def judge_run(run: Run, tests: Sequence[str] = ()) -> pd.DataFrame:
    """Judges a run's own methods by every metric that fits, and writes `judgement.parquet`.

    By labels, where rows carry a class; by retraining, where `wherefrom counterfactual` left
    retrainings; how concentrated they are, and how far they agree. Tests that ask the model more:

    - `mislabelled`: are the rows that are flagged as mislabelled those with the highest self-influence?
      The vectors are kept as `self-influence/RECIPE/METHOD.parquet`.
    - `randomised`: do the methods say something else of a model whose weights were permuted?

    Args:
        run: an indexed run.
        tests: some of `TESTS`.

    Returns:
        One line for each number: `part`, `recipe`, `method`, `against` (the other method of an
        agreement), `metric`, `value`, `low` and `high` (95 %), `queries`, `undefined` (how many of
        these the metric could not judge) and `rows`. A line without a method is of all: the ceiling of
        the linear datamodeling score, the share of mislabelled rows.

    Raises:
        SettingError: no such test, or there is nothing to judge.
        DataError: rows carry labels or flags in part, or none where a test needs them.
    """
    unknown = [test for test in tests if test not in TESTS]
    if unknown:
        raise SettingError(f"no test is called {unknown[0]!r}; there are {', '.join(TESTS)}.")
    if "mislabelled" in tests:
        # before anything is computed
        mislabelled_flags(run.train)
    # a run without queries can still be searched for mislabelled rows
    scores = run.score() if run.queries or tuple(tests) != ("mislabelled",) else {}
    by_class, retrainings = evaluate_run(run, scores), retrainings_of(run)
    if scores and by_class.empty:
        say(f"{run.path}: the rows carry no class, so nothing is judged by classes.")
    if scores and retrainings is None:
        say(f"{run.path}: nothing was retrained; `wherefrom counterfactual {run.path}` does.")
    lines: list[Line] = []
    for recipe in run.config.recipes():
        own = [one for (name, _), one in scores.items() if name == recipe.name]
        found: list[Line] = []
        if not by_class.empty:
            found += class_lines(by_class[by_class["recipe"] == recipe.name], len(run.train))
        if own:
            found += judge(own, None, retrainings)
        for test in dict.fromkeys(tests):
            found += TESTS[test](run, recipe, own)
        lines += [line | {"recipe": recipe.name} for line in found]
    frame = judgement_frame(lines)
    write_frame(frame, run.path / "judgement.parquet")
    return frame


def concentrations(scores: dict[Key, Scores]) -> dict[Key, Concentration]:
    """Of each method, how many distinct training rows are ever ranked first."""
    return {key: concentration(values) for key, values in scores.items()}


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Writes a table as Parquet, whole or not at all."""
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary)


def _mislabelled(run: Run, recipe: Recipe, _: Sequence[Scores]) -> list[Line]:
    import pandas as pd

    flags = mislabelled_flags(run.train)
    lines: list[Line] = [mislabelled_share(flags)]
    ids = [row.id for row in run.train]
    for spec, values in self_influence(run, recipe, run.methods(recipe)).items():
        path = run.path / "self-influence" / recipe.name / f"{file_name(spec)}.parquet"
        write_frame(pd.DataFrame({"id": ids, "self_influence": values}), path)
        lines += mislabelled_lines(spec, values, flags)
    return lines


def _randomised(run: Run, recipe: Recipe, scores: Sequence[Scores]) -> list[Line]:
    found = randomised_scores(run, recipe, run.methods(recipe))
    return [
        line
        for one in scores
        if one.method in found
        for line in randomisation_lines(one, found[one.method])
    ]


TESTS: dict[str, Callable[[Run, Recipe, Sequence[Scores]], list[Line]]] = {
    "mislabelled": _mislabelled,
    "randomised": _randomised,
}
