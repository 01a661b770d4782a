"""`wherefrom demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o

_DEMO = {
    "task": "grammars",
    "train_per_class": 6,
    "queries_per_class": 2,
    "recipe": "sound-1",
    "also": ["paper-1"],
    # small batches: the paper's rows make logits of every position, and the demo stays under 4 GB
    "index": {"batch_tokens": 256},
    # the default alone looks along the run, under the recipe that the model was trained by
    "methods": ["fast", o.LEADING],
    "also_methods": ["fast"],
}
_TUNING = {"batch_size": 4, "learning_rate": 2e-3}


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/demo"),
    model: o.Model = "builtin:smollm2-135m",
    epochs: o.Epochs = 10,
    form: o.Formatted = o.Format.table,
) -> None:
    """The main job on the embedded model: task → LoRA → pass → fast methods → report.

    Example: wherefrom demo --out runs/demo
    """
    from wherefrom.cli._print import print_leaderboard, print_ranked
    from wherefrom.progress import say
    from wherefrom.report import report_run
    from wherefrom.run import execute, make_config

    config = make_config("the demo", **_DEMO, model=model, finetune=_TUNING | {"epochs": epochs})
    done = execute(out, config)
    report = report_run(done.run)
    print_leaderboard(done.leaderboard(), ("recipe", "method"), form)
    if form is o.Format.table:
        query = done.run.queries[0]
        print()
        scores = done.scores["sound-1", done.run.leading]
        print_ranked(
            f"Rows that pushed most towards {query.response!r} ({query.id}), by {scores.method}: higher = "
            "pushed the model more towards this response",
            scores.top(5),
            done.run.train,
        )
        print()
    for moment, share in done.run.behaviour().items():
        say(f"taught behaviour {moment}: {share:.0%} of the queries")
    say(f"report: {report}")
