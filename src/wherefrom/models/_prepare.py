"""What a training run starts from: base weights, first adapter, and the random numbers of each step."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import get_scheduler, set_seed

from wherefrom.errors import ModelError, SettingError
from wherefrom.models._load import LoadedModel, load_model
from wherefrom.models._placement import DeviceMap
from wherefrom.models._quantize import Quantize
from wherefrom.models._settings import FinetuneSettings


def prepare(
    spec: str,
    settings: FinetuneSettings,
    *,
    device_map: DeviceMap | None = None,
    quantize: Quantize | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Loads a base model and makes it ready for its first training step.

    The adapter's first weights follow from the seed alone. What is trained is kept in float32 whatever
    the base is kept in.

    Args:
        spec: the base model, as for `load_model`.
        settings: what is trained, and in which precision.
        device_map: as for `load_model`.
        quantize: as for `load_model`; for an adapter alone.
        trust_remote_code: run code that ships with the model.

    Raises:
        ModelError: the model cannot be loaded or adapted.
        SettingError: all weights were to be trained and quantised too.
    """
    if quantize is not None and settings.mode == "full":
        raise SettingError(
            f"quantize={quantize} keeps the base's weights frozen, so they cannot all be trained. Train a "
            "LoRA adapter (mode lora), or leave quantize out."
        )
    # all weights trained in bfloat16 would lose small updates: they stay float32 under autocast
    precision = settings.resolved_precision() if settings.mode == "lora" else "float32"
    loaded = load_model(
        spec,
        precision=precision,
        device_map=device_map,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    for parameter in loaded.model.parameters():
        parameter.requires_grad_(settings.mode == "full")
    if settings.mode == "lora":
        loaded.model = _adapted(loaded.model, settings)
    for parameter in loaded.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    loaded.model.train()
    return loaded


def step_seed(seed: int, step: int) -> int:
    """Seed of the random numbers (dropout) of one training step.

    Each step has its own, so that any step can be done again without those before it.
    """
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def learning_rates(settings: FinetuneSettings, steps: int) -> list[float]:
    """The learning rate of every step."""
    weight = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=settings.learning_rate)
    schedule: Any = get_scheduler(settings.schedule, optimizer, 0, steps)
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return found


def _adapted(model: Any, settings: FinetuneSettings) -> Any:
    targets: Any = settings.targets
    if targets is not None:
        targets = "all-linear" if targets == ("all-linear",) else list(targets)
    adapter = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        fan_in_fan_out=False,
        task_type="CAUSAL_LM",
    )
    set_seed(settings.seed)
    try:
        return get_peft_model(model, adapter)
    except ValueError as error:
        raise ModelError(f"the model cannot be fine-tuned: {error}") from None
