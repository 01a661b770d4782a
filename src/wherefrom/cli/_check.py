"""`wherefrom check`."""

from __future__ import annotations

from typing import Annotated

import typer

from wherefrom.cli import _complete as complete
from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("check")(check)


def check(
    run: o.RunFolder,
    method: Annotated[
        str | None,
        typer.Option(
            help="Whose answers are checked: NAME or NAME(setting=value); if not given, those of the "
            "method that leads.",
            autocompletion=complete.methods,
            show_default=False,
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k", min=1, help="Top rows that an answer consists of; a twentieth if not given."
        ),
    ] = None,
    query_limit: Annotated[
        int, typer.Option(min=1, help="Queries whose answers get a verdict, evenly spread.")
    ] = 8,
    verify: Annotated[
        bool,
        typer.Option(help="Step the model on the top rows, random rows and the nearest by words."),
    ] = True,
    draws: Annotated[int, typer.Option(min=1, help="Random sets of the spot check.")] = 20,
    randomised: Annotated[
        bool, typer.Option(help="Pass over the model with permuted weights too.")
    ] = True,
    seeds: Annotated[
        int, typer.Option(min=0, help="Fine-tune under that many other seeds and compare answers.")
    ] = 0,
    checks: Annotated[
        str | None,
        typer.Option(
            help="Only these checks, comma-separated; see `wherefrom list checks`.",
            show_default=False,
        ),
    ] = None,
    form: o.Formatted = o.Format.table,
) -> None:
    """Can this run's answers be trusted? Checks, a verdict on each answer, and why.

    Example: wherefrom check runs/demo
    """
    from wherefrom.cli._print_trust import print_trust
    from wherefrom.progress import say
    from wherefrom.run import CheckPlan, Run
    from wherefrom.run import check as check_run

    plan = CheckPlan(
        method=method,
        k=k,
        queries=query_limit,
        verify=verify,
        draws=draws,
        randomised=randomised,
        seeds=seeds,
        checks=None if checks is None else tuple(name.strip() for name in checks.split(",")),
    )
    opened = Run.open(run)
    trust = check_run(opened, plan)
    print_trust(trust, form)
    say(f"check: {opened.path / 'check.json'}")
