"""`wherefrom study`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _complete as complete
from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("study")(study)


def study(
    tasks: Annotated[
        list[str],
        typer.Argument(help="Tasks, as in `wherefrom list tasks`.", autocompletion=complete.tasks),
    ],
    model: o.Model = "builtin:smollm2-135m",
    methods: o.Methods = o.METHODS,
    budget: o.Budget = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds, from 0.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Training rows of each class.", show_default=False)
    ] = None,
    query_limit: Annotated[
        int | None, typer.Option(min=1, help="Queries of each class.", show_default=False)
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="Recipes, comma-separated: sound-1, paper-1.", autocompletion=complete.recipes
        ),
    ] = "sound-1",
    out: Annotated[Path, typer.Option(help="A folder; each run is a folder in it.")] = Path(
        "runs/study"
    ),
    template: o.Template = None,
    mask: o.Mask = None,
    max_length: o.MaxLength = None,
    epochs: o.Epochs = 6,
    rank: o.Rank = 4,
    alpha: o.Alpha = 32.0,
    learning_rate: o.LearningRate = 5e-4,
    batch_size: o.BatchSize = 8,
    mode: o.Mode = "lora",
    targets: o.Targets = None,
    checkpoints: o.Checkpoints = 3,
    draws: o.Draws = 32,
    precision: o.Precision = None,
    batch_tokens: o.BatchTokens = None,
    blocks: o.Blocks = None,
    form: o.Formatted = o.Format.table,
) -> None:
    """Benchmark tasks × recipes × seeds: fine-tune, attribute, judge, one table over all.

    Finished runs are taken as they are; an interrupted study goes on where it stopped.

    Example: wherefrom study grammars backdoor:3 --methods all --seeds 3 --limit 10
    """
    from wherefrom.cli._print import print_leaderboard
    from wherefrom.methods import split_specs
    from wherefrom.progress import say
    from wherefrom.report import report_run
    from wherefrom.run import StudyPlan
    from wherefrom.run import study as run_study

    settings = {
        "model": model,
        "methods": split_specs(methods),
        "budget": budget,
        "train_per_class": limit,
        "queries_per_class": query_limit,
        "template": template,
        "mask": mask,
        "max_length": max_length,
        "finetune": o.tuning(epochs, rank, alpha, learning_rate, batch_size, mode, targets, seed=0),
        "index": {
            "precision": precision or "auto",
            "batch_tokens": batch_tokens,
            "blocks": blocks,
            "checkpoints": checkpoints,
            "draws": draws,
        },
    }
    plan = StudyPlan(tuple(tasks), tuple(recipe.split(",")), seeds, settings)
    frame = run_study(plan, out, finished=lambda done: say(f"report: {report_run(done.run)}"))
    print_leaderboard(frame, ("task", "recipe", "method"), form)
