"""Models: loading them, fine-tuning them, and the one that comes with the package."""

from wherefrom.models._builtin import builtin_model
from wherefrom.models._finetune import batch_order, finetune
from wherefrom.models._generate import generate
from wherefrom.models._load import LoadedModel, Precision, fingerprint, load_model, load_tokenizer
from wherefrom.models._settings import FinetuneSettings, has_fast_bfloat16

__all__ = [
    "FinetuneSettings",
    "LoadedModel",
    "Precision",
    "batch_order",
    "builtin_model",
    "finetune",
    "fingerprint",
    "generate",
    "has_fast_bfloat16",
    "load_model",
    "load_tokenizer",
]
