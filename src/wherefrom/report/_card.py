"""The run card: nested settings as lines of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wherefrom.report._names import short
from wherefrom.safetext import one_line

# A deeper nesting is a value, not a heading.
DEEPEST = 4


@dataclass(frozen=True)
class Group:
    """The entries under one heading of the card."""

    name: str
    entries: tuple[tuple[str, str], ...]


def groups(card: Mapping[str, Any]) -> tuple[Group, ...]:
    """The card's entries: those of the top level first, then one group for each nested part.

    Example:
        >>> groups({"seed": 0, "versions": {"torch": "2.6"}})[1]
        Group(name='versions', entries=(('torch', '2.6'),))
    """
    nested = {key: value for key, value in card.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in card.items() if key not in nested}
    found = [Group("run", tuple(_entries(plain)))] if plain else []
    found += [Group(short(str(key)), tuple(_entries(value))) for key, value in nested.items()]
    return tuple(group for group in found if group.entries)


def _entries(part: Mapping[str, Any], path: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    for key, value in part.items():
        name = f"{path}{short(str(key))}"
        if isinstance(value, Mapping) and value and depth < DEEPEST:
            yield from _entries(value, f"{name}.", depth + 1)
        else:
            yield name, _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return one_line(", ".join(str(item)[:300] for item in value[:50]), 300)
    return one_line(str(value), 300)
