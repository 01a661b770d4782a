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
    from transformers import AutoModelForCausalLM

    model = _read(AutoModelForCausalLM, path, dtype=dtype)
    # the weights are plain by now; transformers would refuse to save what still calls itself quantized
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    return model, load_gguf_tokenizer(path)


def load_gguf_tokenizer(path: Path) -> Any:
    """Tokenizer of a GGUF file, without its weights.

    Raises:
        ModelError: transformers cannot read the file.
    """
    from transformers import AutoTokenizer

    return _read(AutoTokenizer, path)


def _read(kind: Any, path: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(str(path.parent), gguf_file=path.name, **options)
    except Exception as error:
        raise ModelError(
            f"{path}: transformers cannot read this GGUF file ({type(error).__name__}: {error})."
        ) from None
