"""`wherefrom retrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("retrain")(retrain)


def retrain(
    run: o.RunFolder,
    data: Annotated[str, typer.Option(help="The cleaned rows: file, data set or hub name.")],
    queries: Annotated[str, typer.Option(help="Prompts and responses to look at.")],
    good: Annotated[
        str | None, typer.Option(help="Answers that are to be kept.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The new run's folder; RUN-DATA beside the old one if not given.",
            show_default=False,
        ),
    ] = None,
    shape: o.Shape = None,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, help="Longest answer that a model is let give.")
    ] = 64,
    form: o.Formatted = o.Format.table,
) -> None:
    """Train on cleaned rows as the run was trained, and show the answers before and after.

    Example: wherefrom retrain runs/demo --data cleaned.jsonl --queries bad.jsonl --out runs/clean
    """
    from wherefrom.cli._print_retrained import print_retrained
    from wherefrom.progress import say
    from wherefrom.run import Run
    from wherefrom.run import retrain as retrain_run

    found = retrain_run(
        Run.open(run), data, queries, good, out, shape=shape, max_new_tokens=max_new_tokens
    )
    print_retrained(found, form)
    say(f"before and after: {found.run.path / 'retrained.json'}")
    say(f"next: wherefrom index {found.run.path}")
