"""`wherefrom index`."""

from __future__ import annotations

from typing import Annotated

import typer

from wherefrom.cli import _complete as complete
from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("index")(index)


def index(
    run: o.RunFolder,
    adapter: Annotated[
        str | None,
        typer.Option(
            help="An adapter trained elsewhere; makes the run folder.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Its training rows: file, data set or hub name.", show_default=False),
    ] = None,
    queries: Annotated[
        str | None,
        typer.Option(
            help="Rows to explain; of a run that is there, added to those that it has.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Its base model; the embedded one if not given.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods to capture for; those of the run, or fast, if not given.",
            autocompletion=complete.methods,
        ),
    ] = None,
    budget: o.Budget = None,
    recipe: Annotated[str | None, typer.Option(help="sound-1 or paper-1.")] = None,
    shape: o.Shape = None,
    limit: o.Limit = None,
    template: o.Template = None,
    mask: o.Mask = None,
    max_length: o.MaxLength = None,
    precision: o.Precision = None,
    batch_tokens: o.BatchTokens = None,
    workers: o.Workers = None,
    policy: o.Policy = None,
    projection: o.Projection = None,
    half: o.Half = None,
    disk: o.Disk = None,
    signals: o.Signals = None,
    device_map: o.DeviceMap = None,
    quantize: o.Quantize = None,
    blocks: o.Blocks = None,
    checkpoints: Annotated[
        int | None,
        typer.Option(
            min=1, help="Checkpoints of the training run passed over at most; 3 if not given."
        ),
    ] = None,
    draws: Annotated[
        int | None,
        typer.Option(min=2, help="Weights drawn for Bayesian influence; 32 if not given."),
    ] = None,
    strict: o.Strict = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away signals that are there.")
    ] = False,
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Run the pass over the training rows (and queries) of a run; resumes where it stopped.

    Of a run that `wherefrom finetune` made: wherefrom index runs/support

    Of an adapter from elsewhere: wherefrom index runs/mine --model M --adapter A --data train.jsonl

    On several devices: torchrun --nproc-per-node 8 -m wherefrom index runs/support
    """
    from wherefrom.methods import split_specs
    from wherefrom.progress import say
    from wherefrom.run import open_or_make

    opened = open_or_make(
        run,
        makes={
            "model": model,
            "adapter": adapter,
            "data": data,
            "queries": queries,
            "shape": shape,
            "limit": limit,
            "recipe": recipe,
            "template": template,
            "mask": mask,
            "max_length": max_length,
            "device_map": device_map,
            "quantize": quantize,
            "trust_remote_code": trust_remote_code or None,
        },
        changes={"methods": split_specs(methods) if methods else None, "budget": budget},
        index={
            "precision": precision,
            "batch_tokens": batch_tokens,
            "workers": workers,
            "policy": policy,
            "projection": projection,
            "half": half,
            "disk": disk,
            "signals": signals,
            "blocks": blocks,
            "checkpoints": checkpoints,
            "draws": draws,
            "strict": strict or None,
        },
    )
    opened.finetune()
    opened.index(restart=restart)
    say(opened.card.entries.get("coverage", "no gradients were needed"))
    say(f"next: wherefrom trace {run} --prompt …")
