"""States of a model along its trajectory: finding them, and putting their weights in place."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from wherefrom.atomic import read_json
from wherefrom.errors import ModelError, StoreError
from wherefrom.identity import digest_arrays
from wherefrom.models._load import LoadedModel

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """One saved state of a training run.

    Attributes:
        name: its folder's name: `step-000010`.
        folder: where it lies.
        step: optimizer steps taken by then.
        steps: how many steps it stands for: those since the checkpoint before it in the list, or those of
            its part of the run.
        rate: mean learning rate over those steps.
    """

    name: str
    folder: Path
    step: int
    steps: int
    rate: float


def clean_name(parameter: str) -> str:
    """A parameter's name without the wrappers that PEFT puts around it.

    Example:
        >>> clean_name("base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight")
        'model.layers.0.self_attn.q_proj.lora_A.weight'
    """
    name = re.sub(r"^base_model\.model\.", "", parameter)
    name = re.sub(r"\.(lora_[AB])\.[^.]+\.", r".\1.", name)
    return re.sub(r"\.modules_to_save\.[^.]+\.", ".", name)


def read_checkpoints(trajectory: Path, most: int | None = None) -> list[Checkpoint]:
    """The checkpoints of a run, first to last.

    Where there are more than `most`, the run is cut into that many parts of the same sum of learning rates,
    and each part is stood for by the checkpoint nearest its middle: what happens between two checkpoints
    is taken for what happens at one of them, and from the middle of a part its ends are nearest.

    Args:
        trajectory: the run's `trajectory` folder.
        most: keep no more than that many.

    Raises:
        StoreError: the trajectory is damaged.
    """
    folders = sorted(trajectory.glob("step-*"))
    if not folders:
        return []
    steps = read_json(trajectory / "steps.json")
    ends = [int(read_json(folder / "state.json")["step"]) for folder in folders]
    for folder, step, before in zip(folders, ends, [0, *ends[:-1]], strict=True):
        if not before < step <= len(steps):
            raise StoreError(f"{folder}: {trajectory / 'steps.json'} knows no step of it.")
    spent = np.cumsum([0.0, *(float(entry["learning_rate"]) for entry in steps[: ends[-1]])])
    chosen, cuts, reach = list(range(len(ends))), ends, np.diff(spent[ends], prepend=0.0)
    if most is not None and len(folders) > most:
        chosen, cuts = middles(spent[ends], most), _cuts(spent, most)
        reach = np.full(most, spent[-1] / most)
    counts = np.diff(cuts, prepend=0).tolist()
    return [
        Checkpoint(folders[i].name, folders[i], ends[i], count, float(one) / count)
        for i, count, one in zip(chosen, counts, reach, strict=True)
    ]


def middles(spent: np.ndarray, parts: int) -> list[int]:
    """The states nearest the middles of equal parts of a run, each once, first to last.

    Args:
        spent: learning rates that were spent by each state, summed; ascending, the last is the run's.
        parts: how many; no more than there are states.
    """
    found: list[int] = []
    for part in range(parts):
        near = np.argsort(np.abs(spent - spent[-1] * (part + 0.5) / parts), kind="stable")
        found.append(next(int(i) for i in near if int(i) not in found))
    return sorted(found)


def _cuts(spent: np.ndarray, parts: int) -> list[int]:
    """Steps at which equal parts of a run end, one step each at least."""
    steps = len(spent) - 1
    wanted = spent[-1] * np.arange(1, parts) / parts
    near = [int(np.abs(spent - one).argmin()) for one in wanted]
    found: list[int] = []
    for i, end in enumerate([*near, steps]):
        after = found[-1] + 1 if found else 1
        found.append(min(max(end, after), steps - (parts - 1 - i)))
    return found


def trained_state(model: Any, *, gradients: bool = False) -> dict[str, torch.Tensor]:
    """The trained weights, or their gradients, by the names that checkpoints use; on the CPU."""
    state: dict[str, torch.Tensor] = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if gradients:
        state = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in state.items()}
    if isinstance(model, PeftModel):
        state = get_peft_model_state_dict(model, state_dict=state)
    return {name: p.detach().cpu().contiguous().clone() for name, p in state.items()}


@contextmanager
def at_weights(loaded: LoadedModel, folder: Path) -> Iterator[LoadedModel]:
    """The model with a checkpoint's weights in place, for as long as the block lasts.

    Raises:
        ModelError: the weights are not those of this model.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{folder}: no {WEIGHTS} in it.")
    state = load_file(path)
    before = trained_state(loaded.model)
    if {n: t.shape for n, t in state.items()} != {n: t.shape for n, t in before.items()}:
        raise ModelError(f"{path}: holds other parameters than the model trains.")
    identity = loaded.identity | {"weights": state_digest(state)}
    try:
        put_state(loaded.model, state)
        yield replace(loaded, identity=identity)
    finally:
        put_state(loaded.model, before)


def same_weights(loaded: LoadedModel, folder: Path) -> bool:
    """Whether a checkpoint's weights are the model's own, in the precision that the model is held in."""
    return same_state(trained_state(loaded.model), folder)


def same_state(state: Mapping[str, torch.Tensor], folder: Path) -> bool:
    """Whether trained weights are those of a checkpoint, rounded to their own precision."""
    held = load_file(folder / WEIGHTS)
    return held.keys() == state.keys() and all(
        torch.equal(held[name].to(value.dtype), value) for name, value in state.items()
    )


def put_state(model: Any, state: Mapping[str, torch.Tensor]) -> None:
    """Puts trained weights in place, by the names under which checkpoints keep them."""
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, dict(state))
        return
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in state.items():
            parameters[name].copy_(value)


def state_digest(state: Mapping[str, torch.Tensor]) -> str:
    """Digest of trained weights: names and values."""
    arrays = ((n, t.detach().cpu().contiguous().float().numpy()) for n, t in sorted(state.items()))
    return digest_arrays(arrays)
