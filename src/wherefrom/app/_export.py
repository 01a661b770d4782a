"""Marked rows as a file to work on with."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from wherefrom.app._marks import Mark
from wherefrom.data import Example, as_rows, write_rows
from wherefrom.errors import SettingError
from wherefrom.safetext import for_spreadsheet, printable

MEDIA = {
    "jsonl": "application/x-ndjson; charset=utf-8",
    "json": "application/json; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
}
"""Media types of the formats."""


def export(rows: Sequence[Example], marks: Mapping[str, Mark], ending: str) -> bytes:
    """The marked rows in the order of the training set, every column with them.

    Beside the row's own columns stand `marked` (guilty or innocent), `marked_at`, `marked_number` (the
    row's place in the training set, from 1), `marked_line` (file and line), and the question it was marked
    before: `marked_prompt`, `marked_response`, `marked_method`, `marked_score`. JSONL and JSON read back as
    the same examples; CSV is for spreadsheets, so that text which looks like a formula gets an apostrophe.

    Args:
        rows: the training rows.
        marks: by the row's id.
        ending: one of `MEDIA`.

    Raises:
        SettingError: no such format.
    """
    if ending not in MEDIA:
        raise SettingError(f"marked rows are written as {', '.join(MEDIA)}, not {ending!r}.")
    chosen = [
        _with_mark(row, number, marks[row.id])
        for number, row in enumerate(rows, start=1)
        if row.id in marks
    ]
    found, _ = as_rows(chosen)
    if ending == "csv":
        return _csv(found)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"marked.{ending}"
        write_rows(found, path, f".{ending}")
        return path.read_bytes()


def _with_mark(row: Example, number: int, mark: Mark) -> Example:
    own = {("marked" if key == "mark" else f"marked_{key}"): v for key, v in asdict(mark).items()}
    own |= {"marked_number": number, "marked_line": row.source}
    return replace(row, metadata=row.metadata | own)


def _csv(rows: Sequence[Mapping[str, object]]) -> bytes:
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["id", "marked"]
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([_cell(name) for name in names])
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    # the mark at the start tells spreadsheets that it is UTF-8
    return ("\ufeff" + file.getvalue()).encode()


def _cell(value: object) -> object:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, default=str)
    if not isinstance(value, str):
        return "" if value is None else value
    return for_spreadsheet(printable(value))
