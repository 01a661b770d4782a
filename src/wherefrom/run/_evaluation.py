"""Evaluation: every method of a run judged on its task, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wherefrom.atomic import atomic_path
from wherefrom.data import Example, read_examples
from wherefrom.errors import DataError
from wherefrom.metrics import Concentration, Truth, concentration, evaluate
from wherefrom.run._run import Run
from wherefrom.scores import Scores, read_matrix

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, str]


def truth_of(run: Run) -> Truth | None:
    """What the run's queries should find; None where no row of theirs carries a label.

    Raises:
        DataError: some rows carry a label and others do not, or a query's class has no training row.
    """
    if not run.queries or all(row.label is None for row in (*run.train, *run.queries)):
        return None
    return Truth.from_labels(run.train, run.queries)


def evaluate_run(run: Run, scores: dict[Key, Scores]) -> pd.DataFrame:
    """Judges scores and writes `evaluation.parquet`.

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


def concentrations(scores: dict[Key, Scores]) -> dict[Key, Concentration]:
    """Of each method, how many distinct training rows are ever ranked first."""
    return {key: concentration(values) for key, values in scores.items()}


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Writes a table as Parquet, whole or not at all."""
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary)


def distinct_line(scores: Scores) -> dict[str, Any]:
    """A line for an evaluation: the share of distinct rows among those ranked first; no interval."""
    first = concentration(scores)
    return {
        "method": scores.method,
        "metric": "distinct_top1",
        "value": first.distinct / first.of,
        "low": float("nan"),
        "high": float("nan"),
        "queries": first.of,
        "undefined": 0,
    }


def evaluate_file(
    scores: Path, data: Path, sign: Literal["positive", "negative"] = "positive"
) -> pd.DataFrame:
    """Judges a score matrix that any tool wrote.

    Args:
        scores: queries × training rows, as `read_matrix` takes them.
        data: a run folder, or a folder with `train.*` and `test.*` (or `queries.*`) files whose rows
            carry a class.
        sign: `negative` where the most helpful row has the lowest score.

    Returns:
        One line for each metric, with a 95 % interval over queries, and the share of distinct top-1 rows.

    Raises:
        DataError: files are missing, rows carry no class, or the matrix does not fit them.
    """
    import pandas as pd

    train, queries = _labelled(data)
    truth = Truth.from_labels(train, queries)
    read = read_matrix(
        scores, tuple(row.id for row in queries), tuple(row.id for row in train), sign
    )
    lines = pd.DataFrame([distinct_line(read)])
    return pd.concat([evaluate(read, truth), lines], ignore_index=True)


def _labelled(folder: Path) -> tuple[list[Example], list[Example]]:
    if (folder / "run.yaml").is_file():
        run = Run.open(folder)
        return run.train, run.queries
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    found = []
    for names in (("train",), ("test", "queries")):
        files = [p for name in names for p in sorted(folder.glob(f"{name}.*"))]
        if not files:
            raise DataError(f"{folder}: has no file {' or '.join(f'{n}.jsonl' for n in names)}.")
        found.append(read_examples(files[0]))
    return found[0], found[1]
