"""Scores added up over what rows have in common: a label, a file, a column, or their very text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from wherefrom.answers import Share, by_column, grouped
from wherefrom.data import Example
from wherefrom.report._data import Key, ReportData
from wherefrom.report._downloads import Sheet, Value
from wherefrom.report._names import method_names, short
from wherefrom.report._numbers import change, counted
from wherefrom.report._table import Cell, order
from wherefrom.safetext import one_line
from wherefrom.scores import Scores

MOST_COLUMNS = 5
MOST_VALUES = 10
# Rows of a text, or of a number, whose values nearly all differ have nothing in common there.
MOST_DISTINCT = 200
MOST_GROUPS = 10
TOP = 10
COPIES = "near-duplicates"


@dataclass(frozen=True)
class GroupLine:
    """The rows that share a value.

    Attributes:
        name: the value, or the first of the rows.
        detail: what stands beneath it in small print.
        cells: rows, sum, mean, among the first rows, and what removing all of them is predicted to do.
    """

    name: str
    detail: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class GroupTable:
    """One column under one method.

    Attributes:
        lines: the highest sum first.
        left_out: how many more values there are, those in the middle.
    """

    method: str
    unit: str
    lines: tuple[GroupLine, ...]
    left_out: int


@dataclass(frozen=True)
class GroupView:
    """One column under every method that the page shows in full.

    Attributes:
        name: of the column.
        anchor: where it is on the page.
        note: why there are no tables; empty where there are.
    """

    name: str
    anchor: str
    note: str
    tables: tuple[GroupTable, ...]


class Groups:
    """The group view of a report.

    Args:
        data: the report's.
        keys: recipes and methods, best first.
        groups: group of near-duplicates of each training row.
    """

    def __init__(self, data: ReportData, keys: Sequence[Key], groups: np.ndarray) -> None:
        self.data = data
        self.keys = tuple(keys)
        self.groups = groups
        self.names = method_names(data.scores)
        self.pooled = {key: pooled(data.scores[key]) for key in self.keys}
        self.columns = columns_of(data.train)

    def views(self) -> tuple[GroupView, ...]:
        """A view of each column, and one of near-duplicates."""
        if not self.keys or not self.data.train or not self.data.queries:
            return ()
        views = [
            GroupView(
                short(column, 40),
                f"groups-{number}",
                "",
                tuple(
                    self._table(key, [_line(one) for one in self._shares(key, column)])
                    for key in self.keys
                ),
            )
            for number, column in enumerate(self.columns, start=1)
        ]
        copies = {key: list(self._copies(key)) for key in self.keys}
        note = ""
        if not any(copies.values()):
            note = f"No two of the {counted(len(self.data.train), 'training row')} are near-duplicates."
            copies = {}
        tables = tuple(self._table(key, lines, MOST_GROUPS) for key, lines in copies.items())
        return (*views, GroupView(COPIES, "groups-copies", note, tables))

    def of_query(self, key: Key | None, position: int) -> tuple[str, GroupTable] | None:
        """The first column under one method for one query alone; None where there is none of them."""
        if key is None or not self.columns:
            return None
        scores, column = self.data.scores[key], self.columns[0]
        one = replace(
            scores,
            values=scores.values[position : position + 1],
            query_ids=(scores.query_ids[position],),
        )
        shares = by_column(one, self.data.train, column, TOP)
        return short(column, 40), self._table(key, [_line(share) for share in shares])

    def sheet(self) -> Sheet:
        """The same as a table, nothing left out."""
        return Sheet(
            "groups",
            "scores added up over each column",
            (
                *("recipe", "method", "unit", "column", "value", "rows", "sum of scores"),
                *("mean score", f"among the first {TOP}", "expected by chance", "removal"),
            ),
            tuple(self._lines()),
        )

    def _lines(self) -> Iterator[tuple[Value, ...]]:
        for key in self.keys:
            unit = self.pooled[key].unit
            for column in self.columns:
                for one in self._shares(key, column):
                    yield (
                        *(*key, unit, column, one.value, one.rows, one.total),
                        *(one.mean, one.top, one.expected, one.removal),
                    )

    def _shares(self, key: Key, column: str) -> list[Share]:
        return by_column(self.pooled[key], self.data.train, column, TOP)

    def _table(self, key: Key, lines: Sequence[GroupLine], most: int = MOST_VALUES) -> GroupTable:
        # both ends: what pushed towards the responses, and what pushed against them
        low = most // 3
        kept = lines if len(lines) <= most else [*lines[: most - low], *lines[-low:]]
        return GroupTable(
            self.names[key],
            short(self.data.scores[key].unit, 80),
            tuple(kept),
            len(lines) - len(kept),
        )

    def _copies(self, key: Key) -> Iterator[GroupLine]:
        scores = self.pooled[key]
        first = set(scores.top(TOP).indices[0].tolist())
        for one in grouped(scores, self.groups, len(self.groups)):
            if len(one.rows) < 2:
                continue
            row = self.data.train[one.numbers[0]]
            ids = ", ".join(one.rows[:3])
            more = f" and {len(one.rows) - 3} more" if len(one.rows) > 3 else ""
            yield GroupLine(
                one_line(row.prompt, 70) or one_line(row.response, 70) or "(empty)",
                one_line(ids, 120) + more,
                _cells(
                    len(one.rows),
                    one.score,
                    one.score / len(one.rows),
                    len(first & set(one.numbers)),
                    len(first) * len(one.rows) / len(self.data.train),
                    one.removal,
                ),
            )


def pooled(scores: Scores) -> Scores:
    """The mean over all queries, as scores of one."""
    mean = scores.values.astype(np.float64).mean(0, keepdims=True)
    return replace(scores, values=mean, query_ids=("all queries",))


def columns_of(rows: Sequence[Example]) -> tuple[str, ...]:
    """The columns whose values several rows share: label, file, then those of the training file."""
    names = dict.fromkeys(key for row in rows for key in row.metadata)
    known = [column for column in ("label", "file", *sorted(names)) if _shared(rows, column)]
    return tuple(known[:MOST_COLUMNS])


def _shared(rows: Sequence[Example], column: str) -> bool:
    if column == "label":
        values = [row.label for row in rows]
    elif column == "file":
        values = [row.source.rpartition(":")[0] or row.source or None for row in rows]
    else:
        values = [row.metadata.get(column) for row in rows]
        if not all(value is None or isinstance(value, str | int | float) for value in values):
            return False
    distinct = len(set(values))
    return 2 <= distinct <= min(MOST_DISTINCT, max(2, len(rows) // 2))


def _line(one: Share) -> GroupLine:
    return GroupLine(
        short(one.value),
        "",
        _cells(one.rows, one.total, one.mean, one.top, one.expected, one.removal),
    )


def _cells(
    rows: int, total: float, mean: float, top: int, expected: float, removal: float | None
) -> tuple[Cell, ...]:
    cells = (
        Cell(f"{rows:,}", order=order(float(rows))),
        Cell(change(total), order=order(total)),
        Cell(change(mean), order=order(mean)),
        Cell(f"{top}", f"{expected:.1f} by chance", order=order(float(top))),
    )
    return cells if removal is None else (*cells, Cell(change(removal), order=order(removal)))
