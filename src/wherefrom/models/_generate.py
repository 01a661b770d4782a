"""Generation: what the model itself answers to a prompt."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from wherefrom.models._load import LoadedModel
from wherefrom.models._placement import input_device
from wherefrom.progress import track


def generate(
    loaded: LoadedModel,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    batch_size: int = 16,
    label: str = "generate",
    quiet: bool = False,
) -> list[str]:
    """Greedy answers to prompts given as token ids.

    Prompts of like length run together, padded on the left and masked.

    Args:
        loaded: the model.
        prompts: token ids.
        max_new_tokens: longest answer.
        batch_size: prompts that run together.
        label: for the progress bar.
        quiet: show none.

    Returns:
        The answers' text without special tokens, in the order of the prompts.
    """
    answers = [""] * len(prompts)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    device = input_device(loaded.model)
    with track(None if quiet else label, len(prompts)) as advance:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            length = len(prompts[chosen[-1]])
            gaps = [length - len(prompts[i]) for i in chosen]
            ids = [
                [loaded.pad_id] * gap + list(prompts[i])
                for i, gap in zip(chosen, gaps, strict=True)
            ]
            mask = [[0] * gap + [1] * (length - gap) for gap in gaps]
            with torch.inference_mode():
                out = loaded.model.generate(
                    input_ids=torch.tensor(ids, device=device),
                    attention_mask=torch.tensor(mask, device=device),
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    pad_token_id=loaded.pad_id,
                )
            texts = loaded.tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)
            for index, text in zip(chosen, texts, strict=True):
                answers[index] = text
            advance(len(chosen))
    return answers
