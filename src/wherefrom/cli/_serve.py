"""`wherefrom serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("serve")(serve)


def serve(
    run: o.RunFolder,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes any that is free.")
    ] = 7860,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the default browser.")
    ] = True,
) -> None:
    """The live page: ask the model, see the rows behind its answer, mark and export them.

    Only this machine can reach it. It needs the extra: pip install 'wherefrom[page]'.

    Example: wherefrom serve runs/demo
    """
    from wherefrom.app import serve as serve_run

    serve_run(run, port, open_browser=open_browser)
