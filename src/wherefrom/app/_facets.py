"""Facets: what rows can be filtered by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wherefrom.answers import column_of
from wherefrom.app._marks import WORDS, Mark
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.safetext import one_line

_MOST = 60
"""Values of a column that can be chosen; others are found by text."""
_LONGEST = 60


@dataclass(frozen=True)
class Facet:
    """A column of the training rows, and which rows have which value.

    Attributes:
        column: `label`, `file` or a column of the training file.
        values: the most frequent ones first.
        codes: of each row, the place of its value in `values`; -1 for a rarer one.
    """

    column: str
    values: tuple[str, ...]
    codes: np.ndarray

    def to_json(self) -> dict[str, Any]:
        """Column, and its values with how many rows have each."""
        counts = np.bincount(self.codes[self.codes >= 0], minlength=len(self.values))
        return {
            "column": one_line(self.column, _LONGEST),
            "values": [
                {"value": one_line(value, _LONGEST) or "(empty)", "rows": int(count)}
                for value, count in zip(self.values, counts, strict=True)
            ],
        }


def facets_of(rows: Sequence[Example]) -> tuple[Facet, ...]:
    """The columns that tell rows apart: labels first, then files, then what else the rows have."""
    others = dict.fromkeys(key for row in rows for key in row.metadata)
    found = []
    for column in ("label", "file", *others):
        try:
            held = column_of(rows, column)
        except SettingError:
            continue
        counts = Counter(held)
        # a value of nearly every row's own is no group
        if len(counts) < 2 or len(counts) > max(2, len(rows) // 2):
            continue
        values = tuple(value for value, _ in counts.most_common(_MOST))
        places = {value: place for place, value in enumerate(values)}
        codes = np.array([places.get(value, -1) for value in held])
        found.append(Facet(column, values, codes))
    return tuple(found)


@dataclass(frozen=True)
class Filter:
    """Which rows are to be shown.

    Attributes:
        facet: place of a facet and of one of its values; None for all.
        text: to be found in prompt, response, id or label, whatever its case; empty for all.
        mark: `guilty`, `innocent`, `none`; empty for all.
    """

    facet: tuple[int, int] | None = None
    text: str = ""
    mark: str = ""

    def __bool__(self) -> bool:
        return self.facet is not None or bool(self.text or self.mark)

    def rows(
        self, rows: Sequence[Example], facets: Sequence[Facet], marks: Mapping[str, Mark]
    ) -> np.ndarray:
        """Whether each row is to be shown: bool, (rows,).

        Raises:
            SettingError: there is no such facet, value or mark.
        """
        found = np.ones(len(rows), dtype=bool)
        if self.facet is not None:
            column, value = self.facet
            if not (0 <= column < len(facets) and 0 <= value < len(facets[column].values)):
                raise SettingError("there is no such value to filter by; reload the page.")
            found &= facets[column].codes == value
        if self.mark:
            if self.mark not in (*WORDS, "none"):
                raise SettingError(
                    f"rows are marked {', '.join(WORDS)} or none, not {self.mark!r}."
                )
            wanted = None if self.mark == "none" else self.mark
            held = [marks[row.id].mark if row.id in marks else None for row in rows]
            found &= np.array([mark == wanted for mark in held])
        if self.text:
            sought = self.text.casefold()
            found &= np.array([_says(row, sought) for row in rows])
        return found


def _says(row: Example, sought: str) -> bool:
    texts = (row.id, row.label or "", row.prompt, row.response)
    return any(sought in text.casefold() for text in texts)
