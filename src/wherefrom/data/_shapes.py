"""Row shapes: how a raw row of a file becomes an Example."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

from wherefrom.data._example import Example, Message, Role
from wherefrom.errors import DataError, SettingError

RawRow = dict[str, Any]

_LABELS = ("variation", "label", "class", "category")
_IDS = ("id", "row_id", "uid")
_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "developer": "system",
}


@dataclass(frozen=True)
class Shape:
    """A row shape: which columns it needs and how they are read."""

    name: str
    columns: tuple[str, ...]
    optional: tuple[str, ...]
    turns: Callable[[RawRow, str], list[Message]]


def _text(row: RawRow, column: str, where: str, *, optional: bool = False) -> str:
    value = row.get(column)
    if value is None and optional:
        return ""
    if not isinstance(value, str):
        shown = "null" if value is None else type(value).__name__
        raise DataError(f"{where}: field {column!r} is {shown}, but must be text. Fix that row.")
    return whole_text(value, f"{where}: field {column!r}")


def whole_text(text: str, where: str) -> str:
    """The text, if it can be written as UTF-8.

    Raises:
        DataError: it holds half of a character (a lone surrogate), as a text cut in its middle does.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where} holds half a character (a lone surrogate) at position {error.start}. Mend or "
            "drop it."
        ) from None
    return text


def _turn_list(value: Any, role_key: str, text_key: str, column: str, where: str) -> list[Message]:
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | dict) or not list(value):
        raise DataError(f"{where}: field {column!r} must be a non-empty list of turns.")
    messages = []
    for number, turn in enumerate(value, start=1):
        if not isinstance(turn, dict) or role_key not in turn or text_key not in turn:
            raise DataError(
                f"{where}: turn {number} of {column!r} must have {role_key!r} and {text_key!r}."
            )
        role = _ROLES.get(str(turn[role_key]).lower())
        if role is None:
            raise DataError(
                f"{where}: turn {number} of {column!r} has the role {turn[role_key]!r}; known are "
                f"{', '.join(_ROLES)}."
            )
        content = _text(turn, text_key, f"{where}, turn {number} of {column!r}")
        messages.append(Message(cast("Role", role), content))
    return messages


def _pair(prompt: str, response: str) -> Callable[[RawRow, str], list[Message]]:
    def turns(row: RawRow, where: str) -> list[Message]:
        question = row.get(prompt)
        answer = row.get(response)
        if isinstance(question, list) or isinstance(answer, list):
            return [
                *_turn_list(question, "role", "content", prompt, where),
                *_turn_list(answer, "role", "content", response, where),
            ]
        return [
            Message("user", _text(row, prompt, where)),
            Message("assistant", _text(row, response, where)),
        ]

    return turns


def _messages(row: RawRow, where: str) -> list[Message]:
    return _turn_list(row.get("messages"), "role", "content", "messages", where)


def _sharegpt(row: RawRow, where: str) -> list[Message]:
    return _turn_list(row.get("conversations"), "from", "value", "conversations", where)


def _alpaca(row: RawRow, where: str) -> list[Message]:
    question = _text(row, "instruction", where)
    given = _text(row, "input", where, optional=True)
    turns = [
        Message("user", f"{question}\n\n{given}" if given.strip() else question),
        Message("assistant", _text(row, "output", where)),
    ]
    system = _text(row, "system", where, optional=True)
    return [Message("system", system), *turns] if system.strip() else turns


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("messages", ("messages",), (), _messages),
        Shape("sharegpt", ("conversations",), (), _sharegpt),
        Shape("paper", ("prompts", "response"), (), _pair("prompts", "response")),
        Shape("prompt-completion", ("prompt", "completion"), (), _pair("prompt", "completion")),
        Shape("prompt-response", ("prompt", "response"), (), _pair("prompt", "response")),
        Shape("alpaca", ("instruction", "output"), ("input", "system"), _alpaca),
    )
}


def detect_shape(columns: Iterable[str], where: str, shape: str | None = None) -> Shape:
    """The shape whose columns are all there, or the one asked for.

    Raises:
        SettingError: no shape has the name asked for.
        DataError: a column of the shape is missing, or no shape fits; the columns found are listed.
    """
    found = list(columns)
    if shape is not None:
        if shape not in SHAPES:
            raise SettingError(f"no row shape is called {shape!r}. Shapes: {', '.join(SHAPES)}.")
        missing = [column for column in SHAPES[shape].columns if column not in found]
        if missing:
            raise DataError(
                f"{where}: column {missing[0]!r} is missing (row shape {shape}); found: "
                f"{', '.join(found) or 'none'}."
            )
        return SHAPES[shape]
    for candidate in SHAPES.values():
        if all(column in found for column in candidate.columns):
            return candidate
    known = "; ".join(f"{s.name}: {' + '.join(s.columns)}" for s in SHAPES.values())
    raise DataError(
        f"{where}: a column is missing: no row shape fits {', '.join(map(repr, found)) or 'no columns'}. "
        f"Shapes are {known}."
    )


def to_example(row: RawRow, shape: Shape, where: str, default_id: str) -> Example:
    """One raw row as an Example.

    Raises:
        DataError: a field is null, not text, empty, or the last turn is not the assistant's.
    """
    messages = tuple(shape.turns(row, where))
    if messages[-1].role != "assistant":
        raise DataError(
            f"{where}: the last turn is the {messages[-1].role}'s; a response is needed. Drop the row "
            "or add the answer."
        )
    if not messages[-1].content.strip():
        raise DataError(
            f"{where}: the response is empty, so it has no gradient and no score. Drop that row."
        )
    used = {*shape.columns, *shape.optional}
    label = next((row[c] for c in _LABELS if row.get(c) is not None), None)
    given = next((row[c] for c in _IDS if row.get(c) is not None), None)
    return Example(
        id=default_id if given is None else whole_text(str(given), f"{where}: the id"),
        messages=messages,
        label=None if label is None else whole_text(str(label), f"{where}: the class"),
        metadata={k: v for k, v in row.items() if k not in used and k not in (*_IDS, *_LABELS)},
        source=where,
    )
