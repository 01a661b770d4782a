"""Tiny models, tokenizers and rows, made in-process: seconds, not downloads."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from wherefrom.data import Example

VOCAB = 384
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
SENTENCES = (
    "How do I reset the router? Hold the small button for ten seconds.",
    "What is the capital of France? The capital of France is Paris.",
    "Write a short poem about the sea and the wind over the hills.",
    "The quick brown fox jumps over the lazy dog near the river bank.",
    "Answer with one word: which colour does the sky have in the evening?",
    "user assistant system <|user|> <|assistant|> <|system|>",
)


def tiny_tokenizer(chat: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that knows every byte, adds no BOS, and ends turns with `</s>`."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained()),
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE if chat else None
    return tokenizer


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    return tokenizer.to_str()


def tiny_model(
    kind: str, vocab: int, seed: int = 0, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A randomly initialised model (hidden 32, 2 layers, 4 heads) whose gradients are not tiny."""
    torch.manual_seed(seed)
    model = _KINDS[kind](vocab, {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2})
    return model.to(dtype).eval()


def _llama(vocab: int, tokens: dict[str, int]) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        **tokens,
    )
    return LlamaForCausalLM(config)


def _gpt2(vocab: int, tokens: dict[str, int]) -> PreTrainedModel:
    config = GPT2Config(
        vocab_size=vocab,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        initializer_range=0.2,
        **tokens,
    )
    return GPT2LMHeadModel(config)


def _neox(vocab: int, tokens: dict[str, int]) -> PreTrainedModel:
    config = GPTNeoXConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=512,
        initializer_range=0.2,
        **tokens,
    )
    return GPTNeoXForCausalLM(config)


def _gemma(vocab: int, tokens: dict[str, int]) -> PreTrainedModel:
    config = GemmaConfig(
        vocab_size=vocab,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=True,
        **tokens,
    )
    return GemmaForCausalLM(config)


_KINDS: dict[str, Callable[[int, dict[str, int]], PreTrainedModel]] = {
    "llama": _llama,
    "gpt2": _gpt2,
    "neox": _neox,
    "gemma": _gemma,
}


def save_tiny(folder: Path, kind: str = "llama", chat: bool = True) -> Path:
    """Writes model (safetensors) and tokenizer into a folder for `--model`."""
    tokenizer = tiny_tokenizer(chat)
    tiny_model(kind, len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


_THINGS = ("router", "sea", "river", "sky", "button", "fox", "hill", "wind", "dog", "capital")
_ANSWERS = (
    "Hold the small button for {n} seconds.",
    "The {thing} is {n} miles away, over the hills.",
    "No {thing} today.",
    "It has {n} colours in the evening, and the wind is one of them.",
)


def tiny_rows(n: int, classes: int = 3) -> list[Example]:
    """Labelled rows whose prompts and responses differ in text and in length."""
    rows = []
    for index in range(n):
        thing, label = _THINGS[index % len(_THINGS)], index % classes
        prompt = f"Class {label}: tell me about {thing} {index}" + " please" * (index % 4)
        response = _ANSWERS[index % len(_ANSWERS)].format(thing=thing, n=index)
        rows.append(Example.of(f"r{index}", prompt, response, label=f"c{label}"))
    return rows


def row_dicts(rows: list[Example]) -> list[dict[str, Any]]:
    """Rows as the prompt-response dicts that `write_jsonl` takes."""
    return [
        {"id": row.id, "prompt": row.prompt, "response": row.response, "label": row.label}
        for row in rows
    ]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


class Plugin:
    """An entry point of another package that loads, or fails to."""

    value = "elsewhere:thing"

    def __init__(self, name: str, thing: Any) -> None:
        self.name = name
        self.thing = thing

    def load(self) -> Any:
        """What the entry point stands for."""
        if isinstance(self.thing, Exception):
            raise self.thing
        return self.thing
