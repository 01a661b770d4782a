"""Streaming: a model's answer, told piece by piece while it comes about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList
from transformers.generation.streamers import BaseStreamer

from wherefrom.models._load import LoadedModel
from wherefrom.models._placement import input_device

Hear = Callable[[str], bool]
"""Is given what was added to the text; says whether the model is to go on."""
_HALF = "\ufffd"


def generate_streaming(
    loaded: LoadedModel, prompt: Sequence[int], max_new_tokens: int, hear: Hear
) -> str:
    """The greedy answer to one prompt, as `generate` gives it, told while it comes about.

    Args:
        loaded: the model.
        prompt: token ids.
        max_new_tokens: longest answer.
        hear: is given every piece of text as soon as its letters are whole; False stops the model.

    Returns:
        The answer's text without special tokens: all pieces put together.
    """
    device = input_device(loaded.model)
    pieces = _Pieces(loaded.tokenizer, hear)
    ids = torch.tensor([list(prompt)], device=device)
    with torch.inference_mode():
        loaded.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=loaded.pad_id,
            streamer=pieces,
            stopping_criteria=StoppingCriteriaList([_Stop(pieces)]),
        )
    return pieces.told


class _Pieces(BaseStreamer):  # type: ignore[misc]
    """What `generate` tells of its tokens, as text."""

    def __init__(self, tokenizer: Any, hear: Hear) -> None:
        self.told = ""
        self.stopped = False
        self._tokenizer = tokenizer
        self._hear = hear
        self._ids: list[int] = []
        self._asked = False

    def put(self, value: torch.Tensor) -> None:
        """Takes the prompt first, then every token."""
        if not self._asked:
            self._asked = True
            return
        self._ids += value.flatten().tolist()
        self._tell(self._text())

    def end(self) -> None:
        """Tells what was held back."""
        self._tell(self._text(), whole=True)

    def _text(self) -> str:
        return str(self._tokenizer.decode(self._ids, skip_special_tokens=True))

    def _tell(self, text: str, whole: bool = False) -> None:
        # half a letter reads as a replacement mark until its other half is there
        if not whole and (text.endswith(_HALF) or not text.startswith(self.told)):
            return
        piece, self.told = text[len(self.told) :], text
        if piece and not self._hear(piece):
            self.stopped = True


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Stops when whoever hears the pieces has heard enough."""

    def __init__(self, pieces: _Pieces) -> None:
        self._pieces = pieces

    def __call__(
        self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **_: Any
    ) -> torch.BoolTensor:
        """Of every line of the batch, which is one."""
        found = torch.full((len(input_ids),), self._pieces.stopped, device=input_ids.device)
        return found  # type: ignore[return-value]
