"""Snapshots: the rows of a run, kept beside what was computed from them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from wherefrom.atomic import write_text
from wherefrom.data._example import Example, Message
from wherefrom.errors import DataError


def write_snapshot(rows: Sequence[Example], path: Path) -> None:
    """Writes rows as JSONL, whole or not at all, with ids, labels, metadata and where they came from."""
    lines = (json.dumps(asdict(row), default=str) for row in rows)
    write_text(path, "".join(line + "\n" for line in lines))


def read_snapshot(path: Path) -> list[Example]:
    """Reads what `write_snapshot` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; is this a run folder?")
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if line:
            try:
                row = json.loads(line)
                turns = tuple(Message(**turn) for turn in row.pop("messages"))
                rows.append(Example(messages=turns, **row))
            except (ValueError, TypeError, KeyError) as error:
                raise DataError(f"{path}:{number}: damaged ({error}).") from None
    return rows
