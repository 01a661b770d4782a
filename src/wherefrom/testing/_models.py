"""Tiny models with random weights, and a tokenizer, made in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

VOCABULARY = 96
_SPECIAL = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
_LENGTH = 256


def tiny_tokenizer(texts: Sequence[str]) -> Any:
    """A BPE tokenizer that knows the characters of a few texts; it ends turns with `</s>`, adds no BOS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL.values()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=_LENGTH,
        clean_up_tokenization_spaces=False,
        **_SPECIAL,
    )


def save_tiny(folder: Path, kind: str, tokenizer: Any) -> Path:
    """Writes a model of 2 layers, 16 wide, and its tokenizer into a folder that `load_model` takes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _KINDS[kind](len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _llama(vocabulary: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(LlamaConfig(num_key_value_heads=1, **_sizes(vocabulary)))


def _gpt2(vocabulary: int) -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    # GPT-2 drops by default, and so small a model would then fit its rows or not by chance
    dropout = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": _LENGTH}
    return GPT2LMHeadModel(GPT2Config(**sizes, **dropout, **_shared(vocabulary)))


def _neox(vocabulary: int) -> Any:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    return GPTNeoXForCausalLM(GPTNeoXConfig(**_sizes(vocabulary)))


def _gemma(vocabulary: int) -> Any:
    from transformers import GemmaConfig, GemmaForCausalLM

    sizes = _sizes(vocabulary)
    return GemmaForCausalLM(
        GemmaConfig(num_key_value_heads=1, head_dim=8, tie_word_embeddings=True, **sizes)
    )


def _sizes(vocabulary: int) -> dict[str, Any]:
    return _shared(vocabulary) | {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": _LENGTH,
    }


def _shared(vocabulary: int) -> dict[str, Any]:
    # with the usual 0.02 a model this small says the same of every token, and gradients are noise
    return {
        "vocab_size": vocabulary,
        "initializer_range": 0.2,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


_KINDS: dict[str, Callable[[int], Any]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "neox": _neox,
    "gemma": _gemma,
}
KINDS = tuple(_KINDS)
"""Architectures: rotary positions; Conv1D, biases and learned positions; one fused projection for queries,
keys and values; tied embeddings and grouped heads."""
