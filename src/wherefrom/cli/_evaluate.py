"""`wherefrom evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("evaluate")(evaluate)


def evaluate(
    scores: Annotated[
        Path, typer.Option(help="Score matrix, queries × rows: .csv, .parquet or .npy.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="A run folder, or a folder with train and test files that have labels."),
    ],
    sign: Annotated[
        str,
        typer.Option(help="positive: the most helpful row has the highest score; or negative."),
    ] = "positive",
    form: o.Formatted = o.Format.table,
) -> None:
    """Judge anyone's scores: accuracy, coverage, AP, AUROC, MRR, recall, with 95 % intervals.

    Example: wherefrom evaluate --scores influence.csv --data tasks/mine --sign negative
    """
    from wherefrom.cli._print import print_leaderboard
    from wherefrom.run import evaluate_file

    if sign not in ("positive", "negative"):
        raise typer.BadParameter("must be positive or negative", param_hint="--sign")
    frame = evaluate_file(scores, data, "negative" if sign == "negative" else "positive")
    print_leaderboard(frame, ("method",), form)
