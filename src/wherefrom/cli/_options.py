"""Options that several verbs share, and the settings they make."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from wherefrom.cli import _complete as complete


class Format(StrEnum):
    """How a table is printed."""

    table = "table"
    json = "json"
    csv = "csv"
    md = "md"


Formatted = Annotated[Format, typer.Option("--format", help="How tables are printed.")]
Model = Annotated[
    str,
    typer.Option(
        help="Base model: builtin:smollm2-135m, a folder, a .gguf file or a hub id.",
        autocompletion=complete.models,
    ),
]
LEADING = "influence_along"
METHODS = f"fast,{LEADING},influence(curvature=true)"
"""Methods of a run that nobody chose for, as `RunConfig` has them."""
Methods = Annotated[
    str,
    typer.Option(
        help="Methods, comma-separated, each NAME or NAME(setting=value); or all, fast (what one forward "
        "and one backward pass serve), paper.",
        autocompletion=complete.methods,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        help="How long the passes may take together, as 10min; methods that would go over are left out.",
        show_default=False,
    ),
]
RunFolder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
Limit = Annotated[int | None, typer.Option(min=1, help="Read only that many training rows.")]
Template = Annotated[
    str | None, typer.Option(help="auto, chat or plain; the recipe's when not given.")
]
Mask = Annotated[
    str | None,
    typer.Option(help="response, prompt+response or paper; the recipe's when not given."),
]
MaxLength = Annotated[int | None, typer.Option(min=2, help="Tokens of a row.")]
Shape = Annotated[str | None, typer.Option(help="Row shape; detected when not given.")]
Precision = Annotated[
    str | None,
    typer.Option(
        help="Of the pass: float32, bfloat16, or auto (if not given): bfloat16 where it is fast and agrees "
        "with float32 on a few rows."
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(min=1, help="Most tokens of a batch; 512 on a CPU, 4096 elsewhere if not given."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="One-thread processes of a pass on a CPU; all cores if not given."),
]
Policy = Annotated[
    str | None,
    typer.Option(
        help="What is kept of gradients: exact, projected, gram (their products alone; refuses later "
        "queries), or auto (if not given)."
    ),
]
Projection = Annotated[
    int | None,
    typer.Option(min=1, help="Longest side of a projected gradient; 16 if not given."),
]
Half = Annotated[
    bool | None,
    typer.Option(
        "--half/--no-half",
        help="Keep gradients in half precision; where the pass computes in it, if not given.",
        show_default=False,
    ),
]
Disk = Annotated[
    str | None,
    typer.Option(help="What the signals may take, as 20GB; most of what is free if not given."),
]
Signals = Annotated[
    str | None,
    typer.Option(help="Folder or URL (s3://…) for the signals; the run's folder if not given."),
]
DeviceMap = Annotated[
    str | None,
    typer.Option(help="auto spreads the base model over all devices.", show_default=False),
]
Quantize = Annotated[
    str | None,
    typer.Option(help="4bit or 8bit: the base model's weights, by bitsandbytes."),
]
Checkpoints = Annotated[
    int, typer.Option(min=1, help="Checkpoints of the training run that are passed over at most.")
]
Draws = Annotated[
    int, typer.Option(min=2, help="Weights drawn around the final ones, for Bayesian influence.")
]
Blocks = Annotated[
    str | None, typer.Option(help="Trace only weight matrices whose name matches this expression.")
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Refuse when a trainable parameter cannot be traced.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that ships with the model.")
]
Epochs = Annotated[int, typer.Option(min=1, help="Passes over the rows.")]
Rank = Annotated[int, typer.Option(min=1, help="LoRA's r.")]
Alpha = Annotated[float, typer.Option(help="LoRA's α.")]
LearningRate = Annotated[float, typer.Option(help="AdamW's learning rate.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Rows of a training step.")]
Mode = Annotated[str, typer.Option(help="lora, or full to train all weights.")]
Targets = Annotated[
    str | None,
    typer.Option(
        help="Adapted layers, comma-separated, or all-linear; PEFT's choice if not given."
    ),
]


def tuning(
    epochs: int,
    rank: int,
    alpha: float,
    learning_rate: float,
    batch_size: int,
    mode: str,
    targets: str | None,
    seed: int,
) -> dict[str, Any]:
    """Fine-tuning settings as a config's entries."""
    return {
        "epochs": epochs,
        "rank": rank,
        "alpha": alpha,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "mode": mode,
        "targets": targets.split(",") if targets else None,
        "seed": seed,
    }
