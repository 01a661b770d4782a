"""Example: one row of fine-tuning data, whatever shape it was read in."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from wherefrom.identity import digest_value

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Example:
    """A conversation whose assistant turns are the responses that a model learns or gave.

    Attributes:
        id: unique in its data set; never derived from the content, so duplicates stay apart.
        messages: at least one turn; the last is the assistant's.
        label: class of the row where the task has one.
        metadata: every other column of the row, as read.
        source: where the row came from, for messages to people: `train.jsonl:17`.
    """

    id: str
    messages: tuple[Message, ...]
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict, hash=False)
    source: str = ""

    @classmethod
    def of(
        cls, id: str, prompt: str, response: str, label: str | None = None, **metadata: Any
    ) -> Example:
        """An example of one question and one answer."""
        messages = (Message("user", prompt), Message("assistant", response))
        return cls(id=id, messages=messages, label=label, metadata=metadata)

    @property
    def response(self) -> str:
        """Text of the last assistant turn."""
        return self.messages[-1].content

    @property
    def prompt(self) -> str:
        """Text before the last assistant turn; turns joined by new lines."""
        return "\n".join(message.content for message in self.messages[:-1])

    def with_response(self, response: str) -> Example:
        """The same prompt answered otherwise."""
        return replace(self, messages=(*self.messages[:-1], Message("assistant", response)))

    def digest(self) -> str:
        """Digest of id, turns and label: what must not change between two steps of a run."""
        turns = [[message.role, message.content] for message in self.messages]
        return digest_value([self.id, turns, self.label])


Query = Example
"""A prompt and a response to be explained: the same noun, on the other axis of the scores."""
