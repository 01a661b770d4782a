"""Names of methods, rows and classes, short enough for a heading."""

from __future__ import annotations

from collections.abc import Iterable

from wherefrom.data import Example
from wherefrom.report._data import Key
from wherefrom.safetext import one_line

NO_LABEL = "no label"


def short(text: str, limit: int = 60) -> str:
    """A name from outside on one line, cut where it would break the page."""
    return one_line(text, limit) or "(empty)"


def class_of(row: Example) -> str:
    """The class of a row as the page shows it."""
    return NO_LABEL if row.label is None else short(row.label, 40)


def method_names(keys: Iterable[Key]) -> dict[Key, str]:
    """What to call each ranking: the method, and its recipe where there are several."""
    keys = tuple(keys)
    several = len({recipe for recipe, _ in keys}) > 1
    return {
        (recipe, method): f"{short(method)} ({short(recipe, 30)})" if several else short(method)
        for recipe, method in keys
    }
