"""`wherefrom evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("evaluate")(evaluate)


def evaluate(
    run: Annotated[
        Path | None,
        typer.Argument(help="A run, whose own methods are judged.", show_default=False),
    ] = None,
    tests: Annotated[
        str | None,
        typer.Option(
            help="With RUN: tests that ask the model more, comma-separated: mislabelled, randomised.",
            show_default=False,
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Score matrix, queries × rows: .csv, .parquet or .npy. Several are compared.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="What --scores are of: a run folder, or a folder with train and test files.",
            show_default=False,
        ),
    ] = None,
    sign: Annotated[
        list[str] | None,
        typer.Option(
            help="positive (if not given): the most helpful row has the highest score; or negative. Once, "
            "or once for each --scores.",
            show_default=False,
        ),
    ] = None,
    self_influence: Annotated[
        list[Path] | None,
        typer.Option(
            help="One number for each training row, higher = odder: does it find the rows whose column "
            "mislabelled says true?",
            show_default=False,
        ),
    ] = None,
    randomised: Annotated[
        list[Path] | None,
        typer.Option(
            help="The same method's scores of a model with randomised weights, once for each --scores.",
            show_default=False,
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Methods of the run --data to judge beside, comma-separated, or all.",
            show_default=False,
        ),
    ] = None,
    form: o.Formatted = o.Format.table,
) -> None:
    """Judge scores by every metric: classes, retraining, mislabelled rows, randomised weights, agreement.

    A run's own methods: wherefrom evaluate runs/demo --tests mislabelled,randomised

    Anyone's scores: wherefrom evaluate --scores theirs.csv --data runs/demo --against influence,bm25
    """
    from wherefrom.cli._print_judgement import print_judgement
    from wherefrom.methods import split_specs
    from wherefrom.run import Run, evaluate_file, judge_run

    files = (scores, data, sign, self_influence, randomised, against)
    if run is not None:
        if any(given is not None for given in files):
            raise typer.BadParameter(
                "a run is judged by itself. Give --scores once for each file, with --data for its rows.",
                param_hint="RUN",
            )
        chosen = [test.strip() for test in (tests or "").split(",") if test.strip()]
        print_judgement(judge_run(Run.open(run), chosen), form)
        return
    if tests is not None:
        raise typer.BadParameter("tests take a run: wherefrom evaluate RUN", param_hint="--tests")
    if data is None or not (scores or self_influence):
        raise typer.BadParameter(
            "give a run, or --data and --scores (or --self-influence).", param_hint="RUN"
        )
    frame = evaluate_file(
        scores or [],
        data,
        [_sign(text) for text in sign or ["positive"]],
        self_influence=self_influence or [],
        randomised=randomised or [],
        against=split_specs(against or ""),
    )
    print_judgement(frame, form)


def _sign(text: str) -> Literal["positive", "negative"]:
    if text not in ("positive", "negative"):
        raise typer.BadParameter("must be positive or negative", param_hint="--sign")
    return "negative" if text == "negative" else "positive"
