"""`wherefrom trace`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


class TraceFormat(StrEnum):
    """How answers are printed, or written with --out."""

    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    md = "md"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("trace")(trace)


def trace(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run folder; or, with --data, a PEFT adapter's or fine-tuned model's folder.",
            show_default=False,
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option(help="What the model is asked.", show_default=False)
    ] = None,
    response: Annotated[
        str | None,
        typer.Option(help="What it said; it is asked when not given.", show_default=False),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(help="Many questions, as a file or data set.", show_default=False),
    ] = None,
    bad: Annotated[
        str | None,
        typer.Option(
            help="A file of bad answers: one ranked list of the rows behind all of them.",
            show_default=False,
        ),
    ] = None,
    good: Annotated[
        str | None,
        typer.Option(help="With --bad: answers to be kept, held against them.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Training rows of an adapter or model from elsewhere.", show_default=False
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="An adapter's base model, if not the one it names.", show_default=False),
    ] = None,
    shape: o.Shape = None,
    template: o.Template = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods, comma-separated, each NAME or NAME(setting=value), the first leading; or all: "
            "those that the run was indexed for. If not given, influence_along; influence(curvature=true) "
            "where there are no checkpoints; influence where the run was made for that alone.",
            show_default=False,
        ),
    ] = None,
    budget: o.Budget = None,
    top: Annotated[int, typer.Option(min=1, help="How many proponents and opponents.")] = 5,
    by: Annotated[
        str | None,
        typer.Option(
            help="Add scores up over a column: label, file, or any column of the rows.",
            show_default=False,
        ),
    ] = None,
    tokens: Annotated[
        bool,
        typer.Option("--tokens", help="Show which tokens carry the scores of the top rows."),
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="Another tool's scores (CSV, Parquet, NPY): which side does retraining support?",
            show_default=False,
        ),
    ] = None,
    sign: Annotated[
        str,
        typer.Option(help="With --compare: positive, or negative where lowest is most helpful."),
    ] = "positive",
    out: Annotated[
        Path | None,
        typer.Option(
            help="A file for the answers; with --queries also a folder for a Parquet file a method, whose "
            "training signals then pass by in chunks and need not fit memory.",
            show_default=False,
        ),
    ] = None,
    run_folder: Annotated[
        Path | None,
        typer.Option(
            "--run",
            help="Run folder to make of an adapter; runs/NAME-DIGEST if not given.",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Step the model on the top rows, random rows and the nearest by words, for the verdict.",
        ),
    ] = False,
    form: Annotated[
        TraceFormat | None,
        typer.Option(
            "--format",
            help="How answers are printed or written; by the ending of --out, else table.",
            show_default=False,
        ),
    ] = None,
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """The training rows that pushed the model most towards a response, and most against it.

    Example: wherefrom trace runs/demo --prompt "Which rule? …"

    Of an adapter: wherefrom trace out/adapter --data train.jsonl --prompt "…" --response "…"

    Many at once: wherefrom trace runs/demo --queries q.jsonl --format csv --out answers.csv

    What is behind all of these: wherefrom trace runs/demo --bad bad.jsonl --good good.jsonl
    """
    from wherefrom.cli._trace_asked import Asked, trace_asked

    trace_asked(
        Asked(
            target=run,
            prompt=prompt,
            response=response,
            queries=queries,
            bad=bad,
            good=good,
            data=data,
            makes={
                "model": model,
                "shape": shape,
                "template": template,
                "trust_remote_code": trust_remote_code or None,
            },
            methods=methods,
            budget=budget,
            top=top,
            by=by,
            tokens=tokens,
            compare=compare,
            sign=sign,
            out=out,
            folder=run_folder,
            verify=verify,
            form=form,
        )
    )
