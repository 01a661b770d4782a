"""Answer: one traced query and the rows behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wherefrom.data import Example
from wherefrom.scores import Ranked, Scores

if TYPE_CHECKING:
    from wherefrom.diagnose import TraceCheck


@dataclass(frozen=True)
class Answer:
    """What `trace` found for one query.

    Attributes:
        query: the prompt and the response that was traced.
        generated: whether the model gave the response itself.
        scores: one query × training rows, for each method asked for, the leading one first.
        train: the training rows.
        trust: the verdict on what the leading method found.
        seconds: how long the trace took, loading the model included where it was not loaded.
    """

    query: Example
    generated: bool
    scores: tuple[Scores, ...]
    train: tuple[Example, ...]
    trust: TraceCheck
    seconds: float

    def top(self, k: int = 10) -> Ranked:
        """Proponents by the leading method: the rows that pushed most towards the response."""
        return self.scores[0].top(k)

    def opponents(self, k: int = 10) -> Ranked:
        """Opponents by the leading method: the rows that pushed most against the response."""
        return self.scores[0].top(k, opponents=True)
