"""`wherefrom list`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from wherefrom.cli import _options as o


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    tasks = "tasks"
    models = "models"
    metrics = "metrics"
    recipes = "recipes"
    shapes = "shapes"
    checks = "checks"


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("list")(list_)


def list_(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    form: o.Formatted = o.Format.table,
) -> None:
    """What there is: methods, tasks, models, metrics, recipes, row shapes, checks.

    Example: wherefrom list methods
    """
    from wherefrom.cli._catalogue import catalogue
    from wherefrom.cli._print import print_rows

    columns, rows = catalogue(kind.value)
    print_rows(columns, rows, form)
