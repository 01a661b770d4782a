"""GGUF files: dequantized to plain weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from wherefrom.errors import ModelError


def load_gguf(path: Path, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """Model and tokenizer of a GGUF file, its weights dequantized.

    Raises:
        ModelError: transformers cannot read the file.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=dtype)
        tokenizer = AutoTokenizer.from_pretrained(**where)
    except Exception as error:
        raise ModelError(
            f"{path}: transformers cannot read this GGUF file ({type(error).__name__}: {error})."
        ) from None
    # the weights are plain by now; transformers would refuse to save what still calls itself quantized
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    return model, tokenizer
