"""AdamW's moments: as a fine-tune of ours kept them, or as a Hugging Face trainer saved them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import nn

from wherefrom.errors import ModelError
from wherefrom.models._points import clean_name
from wherefrom.signals import Moments

OURS = "optimizer.safetensors"
TRAINERS = "optimizer.pt"


def has_moments(folder: Path) -> bool:
    """Whether a checkpoint folder keeps an optimizer state."""
    return (folder / OURS).is_file() or (folder / TRAINERS).is_file()


def read_moments(folder: Path, model: nn.Module) -> dict[str, Moments]:
    """AdamW's moments at a checkpoint, by block; empty where none were saved.

    A trainer's `optimizer.pt` is read with `weights_only`, so nothing in it is executed. It names
    parameters by number: those that decay first, then biases and norms, as transformers groups them.

    Args:
        folder: the checkpoint.
        model: the model that was trained, whose trainable parameters the moments belong to.

    Raises:
        ModelError: the file is damaged, or its shapes are not those of this model's trainable parameters.
    """
    if (folder / OURS).is_file():
        return _ours(folder / OURS)
    return _trainers(folder / TRAINERS, model) if (folder / TRAINERS).is_file() else {}


def _ours(path: Path) -> dict[str, Moments]:
    arrays = load_file(path)
    found = {}
    for name, first in arrays.items():
        parameter, dot, key = name.rpartition(".")
        if dot and key == "exp_avg":
            found[clean_name(parameter)] = Moments(first, arrays[f"{parameter}.exp_avg_sq"])
    return found


def _trainers(path: Path, model: nn.Module) -> dict[str, Moments]:
    try:
        held: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        numbers = [number for group in held["param_groups"] for number in group["params"]]
        states = [held["state"][number] for number in numbers]
        pairs = [(_array(state["exp_avg"]), _array(state["exp_avg_sq"])) for state in states]
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"{path}: no AdamW state that can be read ({reason}).") from None
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    ordered = [x for x in named if _decays(x[0])] + [x for x in named if not _decays(x[0])]
    shapes = [tuple(p.shape) for _, p in ordered]
    if shapes != [first.shape for first, _ in pairs]:
        raise ModelError(
            f"{path}: holds {len(pairs)} parameters whose shapes are not those of the {len(shapes)} that "
            "this model trains. Was it saved by another run?"
        )
    return {
        clean_name(name): Moments(first, second)
        for (name, _), (first, second) in zip(ordered, pairs, strict=True)
    }


def _decays(name: str) -> bool:
    lower = name.lower()
    return not ("bias" in lower or "norm" in lower or ".ln_" in lower)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.asarray(tensor.float().numpy())
