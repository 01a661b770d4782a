"""`wherefrom replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("replay")(replay)


def replay(
    config: Annotated[Path, typer.Argument(help="A run.yaml.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The run folder.")],
    form: o.Formatted = o.Format.table,
) -> None:
    """Do again what a run.yaml says: rows, fine-tune, pass, scores, report.

    Example: wherefrom replay runs/demo/run.yaml --out runs/again
    """
    from wherefrom.cli._print import print_leaderboard
    from wherefrom.progress import say
    from wherefrom.report import report_run
    from wherefrom.run import execute, read_config

    done = execute(out, read_config(config))
    say(f"report: {report_run(done.run)}")
    if not done.evaluation.empty:
        print_leaderboard(done.leaderboard(), ("recipe", "method"), form)
