"""Tables to take along: CSV and JSON as data addresses, so that the page stays one file."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from dataclasses import dataclass

from markupsafe import Markup

from wherefrom.safetext import for_spreadsheet, printable

Value = str | int | float | None

# Whole texts are in the run's own files.
LONGEST = 160


@dataclass(frozen=True)
class Sheet:
    """A table as data.

    Attributes:
        name: of the file, without its ending.
        about: what a row is.
        columns: names.
        rows: numbers as they are; None and NaN for what is not known.
        longest: characters of a text.
    """

    name: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    longest: int = LONGEST


@dataclass(frozen=True)
class Download:
    """One file behind a link.

    Attributes:
        file: name it is saved under.
        kind: as the reader knows it.
        size: in words.
        address: the whole file; safe as it is, being base64.
    """

    file: str
    kind: str
    size: str
    address: Markup


def downloads(sheet: Sheet) -> tuple[Download, ...]:
    """The sheet in every format; none where it has no rows."""
    if not sheet.rows:
        return ()
    formats = (("csv", "text/csv;charset=utf-8", as_csv), ("json", "application/json", as_json))
    return tuple(
        _download(f"{sheet.name}.{ending}", ending.upper(), media, write(sheet).encode())
        for ending, media, write in formats
    )


def as_csv(sheet: Sheet) -> str:
    r"""CSV that no spreadsheet computes: text that looks like a formula gets a leading apostrophe.

    A mark at the start tells spreadsheets that it is UTF-8. Numbers are written as they are.

    Example:
        >>> as_csv(Sheet("a", "", ("row", "score"), (("=1+1", -0.5), ("b", None))))
        "\ufeffrow,score\r\n'=1+1,-0.5\r\nb,\r\n"
    """
    file = io.StringIO()
    writer = csv.writer(file)
    for row in (sheet.columns, *sheet.rows):
        writer.writerow([_tame(_plain(value, sheet.longest)) for value in row])
    return "\ufeff" + file.getvalue()


def as_json(sheet: Sheet) -> str:
    """JSON as `pandas.read_json(..., orient="split")` takes it: the texts as they stand on the page.

    Example:
        >>> as_json(Sheet("a", "", ("row", "score"), (("=1+1", float("nan")),)))
        '{"columns":["row","score"],"data":[["=1+1",null]]}'
    """
    held = {
        "columns": [_plain(column, sheet.longest) for column in sheet.columns],
        "data": [[_plain(value, sheet.longest) for value in row] for row in sheet.rows],
    }
    return json.dumps(held, separators=(",", ":"), allow_nan=False)


def _tame(value: Value) -> Value:
    return for_spreadsheet(value) if isinstance(value, str) else value


def _plain(value: Value, longest: int) -> Value:
    if isinstance(value, str):
        return printable(value, longest)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _download(file: str, kind: str, media: str, content: bytes) -> Download:
    size = f"{max(1, round(len(content) / 1000)):,} kB"
    address = f"data:{media};base64,{base64.b64encode(content).decode()}"
    return Download(file, kind, size, Markup(address))  # noqa: S704
