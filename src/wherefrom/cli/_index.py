"""`wherefrom index`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
        str | None, typer.Option(help="Rows to explain.", show_default=False)
    ] = None,
    model: o.Model = "builtin:smollm2-135m",
    methods: o.Methods = "all",
    recipe: Annotated[str, typer.Option(help="sound-1 or paper-1.")] = "sound-1",
    shape: o.Shape = None,
    limit: o.Limit = None,
    template: o.Template = None,
    mask: o.Mask = None,
    max_length: o.MaxLength = None,
    precision: o.Precision = "float32",
    batch_tokens: o.BatchTokens = 1024,
    blocks: o.Blocks = None,
    strict: o.Strict = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away signals that are there.")
    ] = False,
    trust_remote_code: o.TrustRemoteCode = False,
) -> None:
    """Run the pass over the training rows (and queries) of a run; resumes where it stopped.

    Of a run that `wherefrom finetune` made: wherefrom index runs/support

    Of an adapter from elsewhere: wherefrom index runs/mine --model M --adapter A --data train.jsonl
    """
    from wherefrom.errors import SettingError
    from wherefrom.methods import split_specs
    from wherefrom.progress import say
    from wherefrom.run import Run, make_config

    if data is None:
        if adapter is not None:
            raise SettingError("--adapter needs --data, the rows it was trained on.")
        opened = Run.open(run)
        opened.finetune()
    else:
        config = make_config(
            "index",
            model=model,
            adapter=adapter,
            data=data,
            queries=queries,
            shape=shape,
            limit=limit,
            recipe=recipe,
            template=template,
            mask=mask,
            max_length=max_length,
            methods=split_specs(methods),
            trust_remote_code=trust_remote_code,
            index={
                "precision": precision,
                "batch_tokens": batch_tokens,
                "blocks": blocks,
                "strict": strict,
            },
        )
        opened = Run.create(run, config)
        if adapter is not None and not (Path(adapter).parent / "trajectory").is_dir():
            say(
                "no trajectory beside this adapter: methods that need checkpoints or optimizer state are "
                "off, all others are not."
            )
    opened.index(restart=restart)
    say(opened.card.entries.get("coverage", "no gradients were needed"))
    say(f"next: wherefrom trace {run} --prompt …")
