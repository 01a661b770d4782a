"""`wherefrom prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("prune")(prune)


def prune(
    run: o.RunFolder,
    out: Annotated[Path, typer.Option(help="The file to write: .jsonl, .json, .csv or .parquet.")],
    queries: Annotated[
        str | None,
        typer.Option(help="Bad answers, as a file or data set.", show_default=False),
    ] = None,
    good: Annotated[
        str | None,
        typer.Option(help="Answers to be kept, held against the bad ones.", show_default=False),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            min=1, help="How many causes to leave out; rows that are not guilty always stay."
        ),
    ] = 50,
    method: Annotated[
        str | None,
        typer.Option(
            help="Whose scores decide: NAME or NAME(setting=value); if not given, the method that leads.",
            show_default=False,
        ),
    ] = None,
    by_group: Annotated[
        bool | None,
        typer.Option(
            "--by-group/--no-by-group",
            help="A cause is a group of near-duplicates, which go together; if not given, so it is for "
            "--queries and not for --rows.",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        Path | None,
        typer.Option(
            help="Ids of rows to leave out in any case: one a line, or a .csv or .json with them.",
            show_default=False,
        ),
    ] = None,
    shape: o.Shape = None,
    force: Annotated[bool, typer.Option("--force", help="Replace --out where it exists.")] = False,
    form: o.Formatted = o.Format.table,
) -> None:
    """Write the data set without the rows behind bad answers, and a manifest of what went and why.

    The training file itself is never touched; the rows that stay are its own, byte for byte in JSONL.

    Example: wherefrom prune runs/demo --queries bad.jsonl --top 50 --out cleaned.jsonl

    Rows of your own choice: wherefrom prune runs/demo --rows ids.txt --out cleaned.jsonl
    """
    import shlex
    import sys

    from wherefrom.cli._print_pruned import print_pruned
    from wherefrom.data import read_examples
    from wherefrom.methods import parse_method
    from wherefrom.run import Run, index_for, read_ids
    from wherefrom.run import prune as prune_run

    opened = Run.open(run)
    chosen = parse_method(method or opened.leading)
    if queries is not None:
        opened.finetune()
        opened = index_for(opened, [chosen])
    shape = shape or opened.config.shape
    found = prune_run(
        opened,
        out,
        read_examples(queries, shape) if queries is not None else [],
        read_examples(good, shape) if good is not None else [],
        method=chosen.spec,
        top=top,
        by_group=by_group,
        rows=[] if rows is None else read_ids(rows),
        force=force,
        never=[Path(one) for one in (queries, good, rows) if one is not None],
        command=shlex.join(["wherefrom", *sys.argv[1:]]),
    )
    print_pruned(opened, found, top if queries is not None else None, form)
