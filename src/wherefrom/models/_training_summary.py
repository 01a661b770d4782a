"""What ran in a training that is not ours, and what of it is known, for `summary.json`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from wherefrom.models._row_order import RowOrder

_SETTINGS = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "bf16",
    "fp16",
    "seed",
    "data_seed",
)
"""Of a trainer's many arguments, those that decide what it does; no names, paths or tokens."""


def training_summary(
    args: Any,
    model: Any,
    optimizer: Any,
    steps: Sequence[dict[str, Any]],
    order: RowOrder,
    taken: int,
) -> dict[str, Any]:
    """What ran, as JSON.

    Args:
        args: the trainer's arguments.
        model: the model that was trained.
        optimizer: its optimizer.
        steps: the steps that led to the model.
        order: of the rows.
        taken: how many steps training took, those included that it went back from.
    """
    losses = [step["loss"] for step in steps]
    known = [loss for loss in losses if loss is not None]
    trained = [p for p in model.parameters() if p.requires_grad]
    return {
        "recorded by": "wherefrom.TrajectoryCallback",
        "base": str(getattr(model.config, "_name_or_path", "")),
        "mode": "adapter" if hasattr(model, "peft_config") else "all weights",
        "trained": sum(p.numel() for p in trained),
        "precision": sorted({str(p.dtype).removeprefix("torch.") for p in trained}),
        "steps": len(steps),
        "steps taken": taken,
        "rows": {
            "known": order.why is None,
            "why not": order.why,
            "numbered as in": "the trainer's train_dataset",
            "in it": order.rows,
        },
        "loss of every step": len(known) == len(losses),
        "loss first": known[0] if known else None,
        "loss last": known[-1] if known else None,
        "optimizer": type(getattr(optimizer, "optimizer", optimizer)).__name__,
        "settings": {name: _plain(getattr(args, name, None)) for name in _SETTINGS},
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
    }


def _plain(value: Any) -> Any:
    value = getattr(value, "value", value)
    return value if isinstance(value, bool | int | float | str | type(None)) else str(value)
