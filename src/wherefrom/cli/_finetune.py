"""`wherefrom finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("finetune")(finetune)


def finetune(
    data: Annotated[str, typer.Option(help="Training rows: file, saved data set or hub name.")],
    out: Annotated[Path, typer.Option(help="The run folder.")],
    queries: Annotated[
        str | None, typer.Option(help="Rows to explain later.", show_default=False)
    ] = None,
    model: o.Model = "builtin:smollm2-135m",
    methods: o.Methods = o.METHODS,
    recipe: Annotated[str, typer.Option(help="sound-1 or paper-1.")] = "sound-1",
    shape: o.Shape = None,
    split: Annotated[str | None, typer.Option(help="Split of a data set.")] = None,
    limit: o.Limit = None,
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
    seed: Annotated[int, typer.Option(help="Order of rows, dropout, first weights.")] = 0,
    device_map: o.DeviceMap = None,
    quantize: o.Quantize = None,
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Fine-tune a model by LoRA (or fully), keeping all that attribution will need.

    Example: wherefrom finetune --data train.jsonl --out runs/support
    """
    from wherefrom.methods import select_methods, split_specs
    from wherefrom.progress import say
    from wherefrom.run import Run, make_config

    chosen = split_specs(methods)
    select_methods(chosen)
    config = make_config(
        "finetune",
        model=model,
        data=data,
        queries=queries,
        shape=shape,
        split=split,
        limit=limit,
        seed=seed,
        recipe=recipe,
        template=template,
        mask=mask,
        max_length=max_length,
        methods=chosen,
        device_map=device_map,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
        finetune=o.tuning(epochs, rank, alpha, learning_rate, batch_size, mode, targets, seed=seed),
    )
    run = Run.create(out, config)
    run.finetune()
    about = run.card.entries["fine-tune"]
    say(f"loss {about['loss first']} → {about['loss last']} in {about['steps']} steps")
    say(f"next: wherefrom index {out}")
