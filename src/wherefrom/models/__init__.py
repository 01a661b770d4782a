"""Models: loading them, fine-tuning them, and the one that comes with the package."""

from wherefrom.models._builtin import builtin_model
from wherefrom.models._finetune import batch_order, finetune
from wherefrom.models._generate import generate
from wherefrom.models._load import LoadedModel, Precision, fingerprint, load_model, load_tokenizer
from wherefrom.models._loss import IGNORED, accepts, counted_losses
from wherefrom.models._settings import FinetuneSettings, has_fast_bfloat16

__all__ = [
    "IGNORED",
    "FinetuneSettings",
    "LoadedModel",
    "Precision",
    "accepts",
    "batch_order",
    "builtin_model",
    "counted_losses",
    "finetune",
    "fingerprint",
    "generate",
    "has_fast_bfloat16",
    "load_model",
    "load_tokenizer",
]
