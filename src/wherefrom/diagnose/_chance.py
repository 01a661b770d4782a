"""Agreement of two answers beside what chance gives."""

from __future__ import annotations

from wherefrom.diagnose._likeness import Likeness, plain
from wherefrom.diagnose._subject import Subject


def chance(subject: Subject) -> float:
    """Share of the top k rows that two random orders have in common: k / rows."""
    return min(subject.k, len(subject.train)) / len(subject.train)


def beside_chance(one: Likeness, subject: Subject) -> dict[str, float | None]:
    """A likeness as the values of a finding have it."""
    return {
        "spearman": plain(one.spearman),
        "top_overlap": plain(one.overlap),
        "chance": plain(chance(subject)),
    }
