"""Scores added up over whatever the rows have in common: a source, a label, any column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.answers._removal import removal
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.scores import Scores

FILE = "file"
"""The column of the files that rows were read from."""
_MISSING = "(none)"


@dataclass(frozen=True)
class Share:
    """The rows that have one value of a column, as one cause.

    Attributes:
        value: of the column; `(none)` for rows without it.
        rows: how many.
        total: sum of their scores.
        mean: mean of their scores.
        top: how many of the answer's first `k` rows are among them.
        expected: how many would be, were the first rows drawn at random.
        removal: predicted change of the response's log-probability without all of them, in nats; None
            where the method defines none.
    """

    value: str
    rows: int
    total: float
    mean: float
    top: int
    expected: float
    removal: float | None


def column_of(rows: Sequence[Example], column: str) -> list[str]:
    """A column's value of each row, as text: `label`, `file` (which file the row is of), or any metadata.

    Raises:
        SettingError: no row has it; those that there are are named.
    """
    if column == "label":
        held = [row.label for row in rows]
    elif column == FILE:
        held = [row.source.rpartition(":")[0] or row.source or None for row in rows]
    else:
        held = [row.metadata.get(column) for row in rows]
    if all(value is None for value in held):
        known = sorted({key for row in rows for key, v in row.metadata.items() if v is not None})
        known = [*(["label"] if any(r.label is not None for r in rows) else []), FILE, *known]
        raise SettingError(
            f"no training row has a column {column!r}; there are {', '.join(known)}."
        )
    return [_MISSING if value is None else str(value) for value in held]


def by_column(scores: Scores, rows: Sequence[Example], column: str, k: int = 10) -> list[Share]:
    """The first query's scores added up over the values of a column, the highest total first.

    Args:
        scores: of at least one query.
        rows: the training rows, in the order of the scores' columns.
        column: `label`, `file` or a column of the training file.
        k: top rows whose shares are counted.

    Raises:
        SettingError: no row has the column.
    """
    values = column_of(rows, column)
    own = scores.values[0].astype(np.float64)
    predicted = removal(scores)
    top = scores.top(k).indices[0]
    found = []
    for value in dict.fromkeys(values):
        # not by numpy, to which text that ends in NUL is another text
        here = np.array([held == value for held in values])
        found.append(
            Share(
                value,
                int(here.sum()),
                float(own[here].sum()),
                float(own[here].mean()),
                int(here[top].sum()),
                float(len(top) * here.mean()),
                None if predicted is None else float(predicted[0][here].sum()),
            )
        )
    return sorted(found, key=lambda one: (-one.total, one.value))
