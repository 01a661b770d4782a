"""A data file without some of its rows: the rows that stay are what they were, all columns with them."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from wherefrom.data._example import Example
from wherefrom.data._readers import raw_rows
from wherefrom.data._shapes import RawRow, detect_shape
from wherefrom.errors import DataError, SettingError

ROW_ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
"""Formats that rows are written in."""


def copy_rows(
    source: str | Path, kept: Sequence[int], out: Path, ending: str, split: str | None = None
) -> None:
    """Writes some rows of a data file or saved data set, as they stand there.

    JSONL and CSV keep the very bytes of a row, Parquet its schema. In another format than the source's,
    values stay what they are as far as it has such values.

    Args:
        source: what `read_examples` read.
        kept: places of the rows to write, from 0, ascending.
        out: the file to write; not the source.
        ending: format of `out`, one of `ROW_ENDINGS`.
        split: as for `read_examples`.

    Raises:
        DataError: the source cannot be read, or a row does not fit the format.
        SettingError: no such format.
    """
    _require_ending(ending)
    place = Path(source)
    if place.is_file() and place.suffix.lower() == ending and ending in _SAME:
        _SAME[ending](place, kept, out)
        return
    wanted = set(kept)
    rows = [row for i, (_, row) in enumerate(raw_rows(source, split)) if i in wanted]
    write_rows(rows, out, ending)


def write_rows(rows: Sequence[RawRow], out: Path, ending: str) -> None:
    """Writes rows as a data file.

    Args:
        rows: by column; rows may have different ones.
        out: the file to write.
        ending: format of `out`, one of `ROW_ENDINGS`.

    Raises:
        DataError: a row does not fit the format.
        SettingError: no such format.
    """
    _require_ending(ending)
    if ending == ".jsonl":
        out.write_bytes(b"".join(_json(row, None) + b"\n" for row in rows))
    elif ending == ".json":
        out.write_bytes(_json(list(rows), 2) + b"\n")
    elif ending == ".csv":
        _write_csv(rows, out)
    else:
        _write_parquet(rows, out)


def as_rows(examples: Sequence[Example]) -> tuple[list[RawRow], str]:
    """Examples as rows that read back as the same examples, with their other columns.

    Returns:
        The rows, and their shape: `prompt-response` where every one is a question and its answer, else
        `messages`.
    """
    pairs = all([m.role for m in one.messages] == ["user", "assistant"] for one in examples)
    rows = [_as_row(one, pairs) for one in examples]
    # another column may look like part of another shape
    if pairs and any(detect_shape(row, "", None).name != "prompt-response" for row in rows):
        rows = [_as_row(one, False) for one in examples]
        pairs = False
    return rows, "prompt-response" if pairs else "messages"


def _as_row(example: Example, pair: bool) -> RawRow:
    row: RawRow = {"id": example.id}
    if pair:
        row |= {"prompt": example.prompt, "response": example.response}
    else:
        row["messages"] = [{"role": m.role, "content": m.content} for m in example.messages]
    if example.label is not None:
        row["label"] = example.label
    return row | {key: value for key, value in example.metadata.items() if key not in row}


def _require_ending(ending: str) -> None:
    if ending not in ROW_ENDINGS:
        raise SettingError(
            f"rows are written as {', '.join(ROW_ENDINGS)}, not {ending or 'without'!r}."
        )


def _copy_lines(source: Path, kept: Sequence[int], out: Path) -> None:
    wanted = set(kept)
    place = -1
    with source.open("rb") as lines, out.open("wb") as written:
        for line in lines:
            if not line.decode("utf-8-sig").strip():
                continue
            place += 1
            if place in wanted:
                written.write(line)


def _copy_records(source: Path, kept: Sequence[int], out: Path) -> None:
    wanted = set(kept)
    place = -1
    with out.open("wb") as written:
        for record, fields in _records(source):
            if place < 0 or (fields and place in wanted):
                written.write(record)
            place += bool(fields) or place < 0


def _records(source: Path) -> Iterator[tuple[bytes, list[str]]]:
    """The records of a CSV file: their bytes, and their fields; empty lines have none."""
    csv.field_size_limit(2**31 - 1)
    held: list[bytes] = []

    def lines() -> Iterator[str]:
        with source.open("rb") as handle:
            for number, line in enumerate(handle):
                held.append(line)
                yield line.decode("utf-8" if number else "utf-8-sig")

    for fields in csv.reader(lines()):
        yield b"".join(held), fields
        held.clear()


def _copy_table(source: Path, kept: Sequence[int], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.write_table(pq.read_table(source).take(pa.array(kept, pa.int64())), out)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{source.name}: not a readable Parquet file ({error}).") from None


_SAME: dict[str, Callable[[Path, Sequence[int], Path], None]] = {
    ".jsonl": _copy_lines,
    ".csv": _copy_records,
    ".parquet": _copy_table,
}


def _json(value: Any, indent: int | None) -> bytes:
    try:
        text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # half a character in some other column: only an escape can hold it
        return json.dumps(value, indent=indent, default=str).encode()


def _columns(rows: Iterable[RawRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))


def _write_csv(rows: Sequence[RawRow], out: Path) -> None:
    names = _columns(rows)
    for name in ("messages", "conversations", "prompt", "prompts", "completion", "response"):
        if any(isinstance(row.get(name), list) for row in rows):
            raise SettingError(
                f"{out.name}: the column {name!r} holds turns of a conversation, which a CSV file cannot. "
                "Write a .jsonl file."
            )
    try:
        with out.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    except UnicodeEncodeError as error:
        raise DataError(
            f"{out.name}: half a character (a lone surrogate) cannot be written as CSV ({error.reason}). "
            "Write a .jsonl file."
        ) from None


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return "" if value is None else value


def _write_parquet(rows: Sequence[RawRow], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {}
    for name in _columns(rows):
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            raise DataError(
                f"{out.name}: the values of column {name!r} are not of one kind, as Parquet wants them "
                f"({error}). Write a .jsonl file."
            ) from None
    try:
        pq.write_table(pa.table(columns), out)
    except pa.ArrowException as error:
        raise DataError(
            f"{out.name}: cannot be written as Parquet ({error}). Write a .jsonl file."
        ) from None
