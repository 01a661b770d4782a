"""Tables as the page draws them: cells that know what a column is sorted by."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        text: the number as shown.
        detail: what stands beneath it in small print.
        order: the number that the column is sorted by; empty where there is none.
        best: whether no other row of the table has a better one.
    """

    text: str
    detail: str = ""
    order: str = ""
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One method of a table."""

    method: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Table:
    """A table with a heading of its own.

    Attributes:
        name: heading.
        columns: name and meaning of the columns after the method's: scale, sign, better end.
        note: what holds for all of them.
        rows: in the order of first sight.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    note: str
    rows: tuple[Row, ...]


def order(value: float | None) -> str:
    """What a column is sorted by; empty for what is unknown, which comes last."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))
