"""How verdicts and levels are marked: by a word and a sign, never by colour alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from wherefrom.diagnose import Group, Level, Word
from wherefrom.report._known import known
from wherefrom.report._names import short

CANNOT_TELL: Word = "cannot tell"

_WORD_SIGNS: Mapping[str, str] = {
    "supported": "●",
    "weak": "◐",
    "not supported": "○",
    CANNOT_TELL: "?",
}
_LEVEL_SIGNS: Mapping[str, str] = {
    "failure": "✕",
    "warning": "▲",
    "notice": "△",
    "unknown": "?",
    "good": "✓",
}
UNKNOWN: Level = "unknown"
LEVELS = tuple(_LEVEL_SIGNS)
"""Worst first."""

GROUP_NAMES: Mapping[Group, tuple[str, str]] = {
    "integrity": ("Integrity", "Is this the model that was trained, and are these the rows?"),
    "sanity": (
        "Sanity",
        "Do the scores behave as those of a method that tells where an answer came from?",
    ),
    "curvature": (
        "Mechanism 1: curvature",
        "Does the curvature of the loss change the answers, or is it drowned by the damping λ?",
    ),
    "convergence": (
        "Mechanism 2: convergence",
        "Are the answers the same all along training, and under other seeds?",
    ),
    "behaviour": (
        "Mechanism 3: behaviour",
        "Does what the model does change when its parameters do?",
    ),
    "causal": (
        "Cause",
        "Does one more training step on the top rows push the model towards the response?",
    ),
}
"""Heading and question of every group."""


@dataclass(frozen=True)
class Stamp:
    """A word with its sign.

    Attributes:
        kind: class in the style sheet.
    """

    word: str
    sign: str
    kind: str


def stamp_of_word(word: str) -> Stamp:
    """The stamp of a verdict; one that is not known looks like one that could not be told."""
    known_word = word if word in _WORD_SIGNS else CANNOT_TELL
    return Stamp(short(word, 40), _WORD_SIGNS[known_word], f"is-{known_word.replace(' ', '-')}")


def stamp_of_level(level: str) -> Stamp:
    """The stamp of a finding; a level that is not known looks like one not measured."""
    known_level = level if level in _LEVEL_SIGNS else UNKNOWN
    return Stamp(short(level, 40), _LEVEL_SIGNS[known_level], f"is-{known_level}")


def severity(level: str) -> int:
    """Place of a level, the worst one 0."""
    return LEVELS.index(level) if level in LEVELS else LEVELS.index(UNKNOWN)


def chance(number: float | None) -> str:
    """A verdict's number as written: two digits; empty where nothing can be told.

    Example:
        >>> chance(0.4249), chance(None)
        ('0.42', '')
    """
    value = known(number)
    return f"{value:.2f}" if math.isfinite(value) else ""
