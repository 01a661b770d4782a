"""Ids of rows that a person has chosen, in a file: one a line, or a column of a table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

from wherefrom.errors import DataError

_COLUMNS = ("row", "id", "train")


def read_ids(path: Path) -> list[str]:
    """Reads ids of training rows.

    Args:
        path: text with an id a line; a `.csv` with a column `row` or `id`, as `wherefrom trace` writes it;
            or a `.json` list of ids, or of objects with such an entry.

    Raises:
        DataError: the file is missing, cannot be read, or names no row.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    try:
        text = path.read_text(encoding="utf-8-sig")
        ending = path.suffix.lower()
        if ending == ".json":
            found = _of_json(json.loads(text))
        elif ending == ".csv":
            found = _of_csv(text)
        else:
            found = [line.rstrip("\r") for line in text.split("\n")]
    except (ValueError, csv.Error, RecursionError) as error:
        raise DataError(f"{path}: not readable as ids of rows ({error}).") from None
    found = list(dict.fromkeys(id for id in found if id.strip()))
    if not found:
        raise DataError(f"{path}: names no row.")
    return found


def _of_json(held: object) -> list[str]:
    if not isinstance(held, list):
        raise ValueError("must be a list of ids, or of objects with 'row' or 'id'")
    return [_entry(one) if isinstance(one, dict) else str(one) for one in held]


def _of_csv(text: str) -> list[str]:
    csv.field_size_limit(2**31 - 1)
    return [_entry(line) for line in csv.DictReader(io.StringIO(text, newline=""))]


def _entry(line: dict[str, object]) -> str:
    for name in _COLUMNS:
        if line.get(name) is not None:
            return str(line[name])
    raise ValueError("no column 'row' or 'id'")
