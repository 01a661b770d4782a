"""Finding: what one check measured, what is normal, what it means and what to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Level = Literal["good", "notice", "warning", "failure", "unknown"]
"""From `good` to `failure` (attribution of this run means nothing until it is mended); `unknown` where
it could not be measured."""
Group = Literal["integrity", "sanity", "curvature", "convergence", "behaviour", "causal"]
"""Integrity: is this the model, and are these the rows? Then the field's sanity checks, the founding
paper's three mechanisms, and what another training step does."""

LEVELS: tuple[Level, ...] = get_args(Level)
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Texts are sentences in plain words for someone who knows how to fine-tune and nothing of attribution.

    Attributes:
        check: its name: `near-duplicates`.
        group: what it belongs to.
        level: how bad it is.
        measured: what was measured here, with its numbers.
        normal: what is normal.
        meaning: what this means for the answers of this run.
        advice: what to do next; empty where nothing needs doing.
        values: the numbers, and ids of rows, for machines: JSON as it is, NaN as None.
    """

    check: str
    group: Group
    level: Level
    measured: str
    normal: str = ""
    meaning: str = ""
    advice: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bad(self) -> bool:
        """Whether it speaks against the answers."""
        return self.level in ("warning", "failure")


class NotMeasured(Exception):
    """A check cannot be made here; the text says why, to follow `not measured: `."""
