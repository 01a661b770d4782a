"""Models: loading them, fine-tuning them, and the one that comes with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wherefrom.models._builtin import builtin_model
from wherefrom.models._finetune import batch_order, finetune
from wherefrom.models._generate import generate
from wherefrom.models._langevin import draw_weights
from wherefrom.models._load import LoadedModel, Precision, fingerprint, load_model, load_tokenizer
from wherefrom.models._loss import IGNORED, CountedLosses, accepts, counted_losses
from wherefrom.models._moments import has_moments, read_moments
from wherefrom.models._padding import pad_rows
from wherefrom.models._placement import DeviceMap, input_device, is_spread
from wherefrom.models._points import (
    Checkpoint,
    at_weights,
    clean_name,
    middles,
    put_state,
    read_checkpoints,
    same_weights,
    state_digest,
    trained_state,
)
from wherefrom.models._prepare import learning_rates, prepare, step_seed
from wherefrom.models._quantize import Quantize, is_quantized
from wherefrom.models._settings import FinetuneSettings, has_fast_bfloat16
from wherefrom.models._streaming import Hear, generate_streaming

if TYPE_CHECKING:
    from wherefrom.models._callback import TrajectoryCallback

__all__ = [
    "IGNORED",
    "Checkpoint",
    "CountedLosses",
    "DeviceMap",
    "FinetuneSettings",
    "Hear",
    "LoadedModel",
    "Precision",
    "Quantize",
    "TrajectoryCallback",
    "accepts",
    "at_weights",
    "batch_order",
    "builtin_model",
    "clean_name",
    "counted_losses",
    "draw_weights",
    "finetune",
    "fingerprint",
    "generate",
    "generate_streaming",
    "has_fast_bfloat16",
    "has_moments",
    "input_device",
    "is_quantized",
    "is_spread",
    "learning_rates",
    "load_model",
    "load_tokenizer",
    "middles",
    "pad_rows",
    "prepare",
    "put_state",
    "read_checkpoints",
    "read_moments",
    "same_weights",
    "state_digest",
    "step_seed",
    "trained_state",
]


def __getattr__(name: str) -> Any:
    # what trains is slow to import, and a pass does not need it
    if name == "TrajectoryCallback":
        from wherefrom.models._callback import TrajectoryCallback

        return TrajectoryCallback
    raise AttributeError(f"module 'wherefrom.models' has no attribute {name!r}")
