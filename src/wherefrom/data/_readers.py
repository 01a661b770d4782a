"""Readers: files and data sets as lists of examples, and one clear error for what is wrong."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wherefrom.data._example import Example
from wherefrom.data._shapes import RawRow, detect_shape, to_example
from wherefrom.errors import DataError

_FILES = (".jsonl", ".json", ".csv", ".parquet")


def read_examples(
    path: str | Path,
    shape: str | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> list[Example]:
    """Reads rows of fine-tuning data.

    Args:
        path: a `.jsonl`, `.json` (a list), `.csv` or `.parquet` file, a folder written by
            `datasets.save_to_disk`, or the name of a data set on the hub.
        shape: one of `SHAPES`; detected from the columns when None.
        split: split of a data set that has several; `train` when None.
        limit: read only that many rows.

    Returns:
        Examples in file order. Ids are the row's own `id` column, or `row-000017` (from 1).

    Raises:
        DataError: with the file, the row (counted from 1; for JSONL and CSV the line) and the fix.
    """
    return _examples(raw_rows(path, split), Path(path).name, shape, limit)


def raw_rows(path: str | Path, split: str | None = None) -> Iterator[tuple[int, Any]]:
    """The rows of a data file or data set as they stand there, each with its number for people.

    Args:
        path: as for `read_examples`.
        split: as for `read_examples`.

    Raises:
        DataError: it cannot be read.
    """
    location = Path(path)
    if location.is_dir():
        return _saved_rows(location, split)
    if location.suffix.lower() in _FILES:
        if not location.exists():
            raise DataError(f"{location}: no such file.")
        reader = {
            ".jsonl": _jsonl_rows,
            ".json": _json_rows,
            ".csv": _csv_rows,
            ".parquet": _parquet_rows,
        }
        return reader[location.suffix.lower()](location)
    if location.exists():
        raise DataError(f"{location}: rows are read from {', '.join(_FILES)} or a saved data set.")
    return _hub_rows(str(path), split)


def _examples(
    rows: Iterator[tuple[int, Any]], name: str, shape: str | None, limit: int | None
) -> list[Example]:
    examples: list[Example] = []
    first_seen: dict[str, str] = {}
    chosen = None
    for number, row in rows:
        if limit is not None and len(examples) >= limit:
            break
        where = f"{name}:{number}"
        if not isinstance(row, dict):
            raise DataError(
                f"{where}: the row is {'null' if row is None else type(row).__name__}, but must be an "
                "object with named fields."
            )
        if chosen is None or any(column not in row for column in chosen.columns):
            chosen = detect_shape(row, where, shape or (chosen.name if chosen else None))
        example = to_example(row, chosen, where, f"row-{number:06d}")
        if example.id in first_seen:
            raise DataError(
                f"{where}: the id {example.id!r} was used at {first_seen[example.id]} already. Make "
                "ids unique, or leave the column out."
            )
        first_seen[example.id] = where
        examples.append(example)
    if not examples:
        raise DataError(f"{name}: the file has no rows.")
    return examples


def _decoded(path: Path) -> Iterator[tuple[int, str]]:
    with path.open("rb") as handle:
        for number, raw in enumerate(handle, start=1):
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path.name}:{number}: not UTF-8 (byte {error.start} of the line). Save the file "
                    "as UTF-8."
                ) from None


def _jsonl_rows(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in _decoded(path):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{path.name}:{number}: broken JSON ({_fault(error)}). Each line must be one JSON object."
            ) from None


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    text = "".join(line for _, line in _decoded(path))
    if not text.strip():
        return
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path.name}:{getattr(error, 'lineno', 1)}: broken JSON ({_fault(error)}). The file must be "
            "one list of objects; for one object a line use the ending .jsonl."
        ) from None
    if not isinstance(value, list):
        raise DataError(f"{path.name}: holds {type(value).__name__}, but must be a list of rows.")
    yield from enumerate(value, start=1)


def _fault(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(line for _, line in _decoded(path))
    start = 1
    try:
        header = next(reader, None)
        start = reader.line_num + 1
        for fields in reader if header is not None else ():
            if fields:
                if header is None or len(fields) != len(header):
                    raise DataError(
                        f"{path.name}:{start}: {len(fields)} fields where the header names "
                        f"{len(header or ())}. Quote fields that hold commas or new lines."
                    )
                yield start, dict(zip(header, fields, strict=True))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path.name}:{start}: not readable as CSV ({error}).") from None


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: not a readable Parquet file ({error}).") from None


def _saved_rows(folder: Path, split: str | None) -> Iterator[tuple[int, Any]]:
    if not ((folder / "state.json").exists() or (folder / "dataset_dict.json").exists()):
        raise DataError(
            f"{folder}: not a saved data set (no state.json or dataset_dict.json). Give a file, or a "
            "folder that datasets.save_to_disk wrote."
        )
    from datasets import load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder}: the saved data set cannot be read ({error}).") from None
    yield from _rows_of(loaded, str(folder), split)


def _hub_rows(name: str, split: str | None) -> Iterator[tuple[int, Any]]:
    if name.startswith(("/", ".", "~")) or name.count("/") > 1:
        raise DataError(f"{name}: no such file.")
    from datasets import load_dataset

    try:
        loaded = load_dataset(name)
    except Exception as error:
        raise DataError(
            f"{name}: no such file here, and it cannot be loaded as a data set from the hub "
            f"({type(error).__name__}). Give a {', '.join(_FILES)} file, a folder written by "
            "datasets.save_to_disk, or a hub name while online."
        ) from None
    yield from _rows_of(loaded, name, split)


def _rows_of(loaded: Any, name: str, split: str | None) -> Iterator[tuple[int, RawRow]]:
    if hasattr(loaded, "keys"):
        wanted = split or "train"
        if wanted not in loaded:
            raise DataError(f"{name}: no split {wanted!r}; it has {', '.join(loaded)}.")
        loaded = loaded[wanted]
    yield from enumerate(loaded, start=1)
