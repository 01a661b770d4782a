"""`wherefrom report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("report")(report)


def report(
    run: o.RunFolder,
    out: Annotated[
        Path | None,
        typer.Option(help="The file; report.html in the run folder if not given."),
    ] = None,
    tokens: Annotated[
        bool,
        typer.Option(
            "--tokens/--no-tokens",
            help="Show which tokens carry the scores of the sample queries, which runs the model.",
        ),
    ] = True,
) -> None:
    """Write the report of a run: one HTML file that opens offline.

    Example: wherefrom report runs/demo --out demo.html
    """
    from wherefrom.report import report_run
    from wherefrom.run import Run

    print(report_run(Run.open(run), out, tokens=tokens))
