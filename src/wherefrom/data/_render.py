"""Rendering: examples to token ids and a loss mask, decided on tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import numpy as np

from wherefrom.data._example import Example, Message
from wherefrom.data._recipe import Recipe
from wherefrom.errors import DataError, SettingError
from wherefrom.identity import digest_arrays, digest_value


class Tokenizer(Protocol):
    """What rendering needs of a Hugging Face tokenizer."""

    chat_template: Any
    eos_token: str | None
    eos_token_id: int | None
    bos_token_id: int | None

    def __call__(self, text: str, *, add_special_tokens: bool = ...) -> Any: ...
    def apply_chat_template(self, conversation: Any, **options: Any) -> Any: ...
    def convert_ids_to_tokens(self, ids: Any) -> Any: ...
    def decode(self, ids: Any, **options: Any) -> Any: ...


@dataclass(frozen=True)
class TokenRow:
    """One example as the model sees it.

    Attributes:
        id: the example's.
        ids: int64, (T,): token ids.
        attention: bool, (T,): False on pads that the recipe itself puts in.
        loss_mask: bool, (T,): True where the loss of predicting this token counts; never at 0, which
            nothing predicts.
        response_mask: bool, (T,): True on the assistant's tokens, whatever the recipe counts.
        prompt_end: position of the last token before the last response.
        truncated: whether tokens of the row were cut off by the length limit.
    """

    id: str
    ids: np.ndarray
    attention: np.ndarray
    loss_mask: np.ndarray
    response_mask: np.ndarray
    prompt_end: int
    truncated: bool = False

    def digest(self) -> str:
        """Digest of everything the model is fed and the loss counts."""
        arrays = [("ids", self.ids), ("attention", self.attention), ("mask", self.loss_mask)]
        return digest_value([self.id, self.prompt_end, digest_arrays(arrays)])


class Renderer:
    """Turns examples into token rows by one recipe and one tokenizer.

    Each assistant turn is tokenized apart from the text before it, exactly as at generation time: the
    prompt's tokens do not depend on the answer, and the mask needs no search for strings.

    Args:
        tokenizer: a Hugging Face tokenizer.
        recipe: mask, template and length.

    Raises:
        SettingError: the recipe asks for a chat template and the tokenizer has none.
    """

    def __init__(self, tokenizer: Tokenizer, recipe: Recipe) -> None:
        self.tokenizer = tokenizer
        self.recipe = recipe
        template = recipe.template
        if template == "auto":
            template = "chat" if tokenizer.chat_template else "plain"
        if template not in ("chat", "plain"):
            raise SettingError(f"template must be auto, chat or plain, not {recipe.template!r}.")
        if template == "chat" and not tokenizer.chat_template:
            raise SettingError("the tokenizer has no chat template; use --template plain.")
        self.template = template

    def identity(self) -> dict[str, Any]:
        """Template text, special tokens and recipe: what must match between two renderings."""
        text = str(self.tokenizer.chat_template) if self.template == "chat" else _PLAIN
        return {
            "template": self.template,
            "template text": digest_value(text),
            "tokenizer": _vocabulary(self.tokenizer),
            **{f"recipe {k}": v for k, v in self.recipe.identity().items() if k != "template"},
        }

    def render(self, example: Example) -> TokenRow:
        """One example as a token row.

        Raises:
            DataError: no token of the response is left to learn from, or the chat template does not
                keep the turns before an answer as they were.
        """
        ids: list[int] = []
        mask: list[bool] = []
        prompt_end = 0
        for tokens, counted in self._segments(example):
            # of the last response that the length limit leaves a token of
            if any(counted) and len(ids) + counted.index(True) < self.recipe.max_length:
                prompt_end = len(ids) + counted.index(True) - 1
            ids += tokens
            mask += counted
        return self._finish(example, ids, mask, prompt_end)

    def render_all(self, examples: Sequence[Example]) -> list[TokenRow]:
        """All examples as token rows, in the same order."""
        return [self.render(example) for example in examples]

    def prompt_ids(self, example: Example) -> list[int]:
        """Token ids of everything before the last response: what the model is asked to continue."""
        segments = self._segments(example)
        ids = [token for tokens, _ in segments[:-1] for token in tokens]
        tokens, counted = segments[-1]
        return ids + tokens[: counted.index(True)]

    def _finish(
        self, example: Example, ids: list[int], mask: list[bool], prompt_end: int
    ) -> TokenRow:
        limit = self.recipe.max_length
        truncated = len(ids) > limit
        ids, mask = ids[:limit], mask[:limit]
        where = f"{example.source or 'row'} (id {example.id!r})"
        if not any(mask):
            raise DataError(
                f"{where}: no token of the response is left within {limit} tokens, so it can teach "
                "nothing. Raise --max-length, shorten the prompt, or drop the row."
            )
        row = np.array(ids, dtype=np.int64)
        attention = np.ones(len(row), dtype=bool)
        response = np.array(mask, dtype=bool)
        counted = response.copy()
        if self.recipe.mask == "paper":
            pads = limit - len(row)
            if self.tokenizer.eos_token_id is None:
                raise SettingError("the paper's mask pads with EOS; this tokenizer has none.")
            row = np.concatenate([np.full(pads, self.tokenizer.eos_token_id, np.int64), row])
            attention = np.concatenate([np.zeros(pads, dtype=bool), attention])
            response = np.concatenate([np.zeros(pads, dtype=bool), response])
            counted = np.ones(limit, dtype=bool)
            prompt_end += pads
        elif self.recipe.mask == "prompt+response":
            counted = np.ones(len(row), dtype=bool)
        counted[0] = False
        return TokenRow(example.id, row, attention, counted, response, prompt_end, truncated)

    def _segments(self, example: Example) -> list[tuple[list[int], list[bool]]]:
        if example.messages[0].role == "assistant":
            raise DataError(
                f"{example.source or 'row'} (id {example.id!r}): nothing stands before the response, so "
                "its first token cannot be predicted. Add a prompt."
            )
        if self.template == "plain":
            return self._plain_segments(example)
        return self._chat_segments(example)

    def _plain_segments(self, example: Example) -> list[tuple[list[int], list[bool]]]:
        bos = self.tokenizer.bos_token_id
        starts_with_bos = bos is not None and self.tokenizer("a").input_ids[:1] == [bos]
        segments = [([bos], [False])] if starts_with_bos and bos is not None else []
        for message in example.messages:
            if message.role == "assistant":
                tokens = self._tokens(message.content)
                if self.tokenizer.eos_token_id is not None:
                    tokens = [*tokens, self.tokenizer.eos_token_id]
                segments.append((tokens, [True] * len(tokens)))
            else:
                tokens = self._tokens(message.content + "\n")
                segments.append((tokens, [False] * len(tokens)))
        return segments

    def _chat_segments(self, example: Example) -> list[tuple[list[int], list[bool]]]:
        segments: list[tuple[list[int], list[bool]]] = []
        done = ""
        for turn, message in enumerate(example.messages):
            if message.role != "assistant":
                continue
            before = self._chat_text(example, example.messages[:turn], generate=True)
            after = self._chat_text(example, example.messages[: turn + 1], generate=False)
            if not after.startswith(before):
                before = self._text_before_answer(example, turn)
            if not after.startswith(before) or not before.startswith(done):
                raise DataError(
                    f"{example.source} (id {example.id!r}): the chat template rewrites earlier text at "
                    f"turn {turn + 1}, so the answer's tokens cannot be told from the prompt's. Use "
                    "--template plain, or rows of one question and one answer."
                )
            prompt = self._tokens(before[len(done) :])
            answer = self._tokens(after[len(before) :])
            segments.append((prompt, [False] * len(prompt)))
            segments.append((answer, self._until_end_of_turn(answer)))
            done = after
        return segments

    def _chat_text(self, example: Example, messages: Sequence[Message], *, generate: bool) -> str:
        conversation = [{"role": m.role, "content": m.content} for m in messages]
        try:
            text = self.tokenizer.apply_chat_template(
                conversation, tokenize=False, add_generation_prompt=generate
            )
        except Exception as error:
            raise DataError(
                f"{example.source} (id {example.id!r}): the chat template refuses these turns "
                f"({error}). Use --template plain, or another order of roles."
            ) from None
        return str(text)

    def _text_before_answer(self, example: Example, turn: int) -> str:
        """What stands before an answer where the generation prompt says more than that.

        Some templates ask for an answer with text that no answer in a conversation has (an empty
        thought). Two answers that differ from their first letter on show where the answer begins.
        """
        texts = [
            self._chat_text(
                example, [*example.messages[:turn], Message("assistant", letter)], generate=False
            )
            for letter in "XY"
        ]
        same = takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False))
        return "".join(left for left, _ in same)

    def _until_end_of_turn(self, answer: list[int]) -> list[bool]:
        """Counts an answer's tokens, save the white space that a template puts after its end."""
        end = len(answer)
        special = set(getattr(self.tokenizer, "all_special_ids", ()))
        special |= set(getattr(self.tokenizer, "added_tokens_decoder", ()))
        while end and answer[end - 1] not in special:
            if str(self.tokenizer.decode([answer[end - 1]])).strip():
                return [True] * len(answer)
            end -= 1
        if not end:
            return [True] * len(answer)
        return [position < end for position in range(len(answer))]

    def _tokens(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False).input_ids)


_PLAIN = "{prompt}\n{response}{eos}"


_DIGESTS: WeakKeyDictionary[Any, tuple[Any, str]] = WeakKeyDictionary()


def _vocabulary(tokenizer: Any) -> str:
    """Digest of words and special tokens; kept, since every pass asks for it and it takes a while."""
    specials = [tokenizer.eos_token, tokenizer.bos_token_id]
    if not hasattr(tokenizer, "get_vocab"):
        return digest_value([[], *specials])
    state = [len(tokenizer), *specials]
    held = _DIGESTS.get(tokenizer)
    if held is None or held[0] != state:
        words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
        held = _DIGESTS[tokenizer] = (state, digest_value([words, *specials]))
    return held[1]
