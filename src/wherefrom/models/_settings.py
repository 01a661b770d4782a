"""Fine-tuning settings: everything that decides what a training run does."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field


class FinetuneSettings(BaseModel):
    """What a fine-tune does; the defaults follow arXiv 2409.19998 where it fits a small model.

    Attributes:
        mode: train a LoRA adapter, or all weights.
        rank: LoRA's r.
        alpha: LoRA's α; the adapter is scaled by α/r.
        dropout: LoRA's dropout.
        targets: names of adapted layers (`q_proj`), or `all-linear`; PEFT's choice for the
            architecture when None (q and v projections for Llama).
        epochs: passes over the rows.
        batch_size: rows of a step.
        optimizer: `adamw`, or `sgd` without momentum.
        learning_rate: the optimizer's, at the start.
        schedule: how it decays: `linear`, `cosine`, `constant`.
        weight_decay: the optimizer's.
        max_grad_norm: gradients are clipped to it; 0 for never.
        precision: `auto` trains in bfloat16 where the hardware has it, adapters in float32.
        seed: order of rows, dropout and the adapter's first weights.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["lora", "full"] = "lora"
    rank: int = Field(4, ge=1)
    alpha: float = Field(32.0, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    targets: tuple[str, ...] | None = None
    epochs: int = Field(6, ge=1)
    batch_size: int = Field(8, ge=1)
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(5e-4, gt=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, ge=0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def resolved_precision(self) -> Literal["float32", "bfloat16"]:
        """The precision that `auto` means on this machine."""
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if has_fast_bfloat16() else "float32"


def has_fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 matrices in hardware."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in checks)
