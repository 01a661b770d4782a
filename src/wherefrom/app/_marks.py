"""Marks: rows that a person found guilty or innocent, kept in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from wherefrom.atomic import read_json, write_json
from wherefrom.errors import SettingError, StoreError

Word = Literal["guilty", "innocent"]
WORDS: tuple[Word, ...] = get_args(Word)
FILE = "marks.json"
_VERSION = 1


@dataclass(frozen=True)
class Mark:
    """What a person said of a row, and before which answer.

    Attributes:
        mark: guilty or innocent.
        at: when, ISO 8601, UTC.
        prompt: of the question that the row stood behind; empty where none was asked.
        response: of it.
        method: that ranked the row.
        score: of the row; None where none is known.
    """

    mark: Word
    at: str
    prompt: str = ""
    response: str = ""
    method: str = ""
    score: float | None = None

    @classmethod
    def now(cls, mark: str, **asked: Any) -> Mark:
        """A mark set now.

        Raises:
            SettingError: there is no such mark.
        """
        for word in WORDS:
            if mark == word:
                return cls(word, datetime.now(UTC).isoformat(timespec="seconds"), **asked)
        raise SettingError(f"a row is marked as {' or '.join(WORDS)}, not as {mark!r}.")


class Marks:
    """The marks of a run; every change is on disk before it is told.

    Args:
        folder: of the run.

    Raises:
        StoreError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._held = self._read()

    def held(self) -> Mapping[str, Mark]:
        """By the row's id, as they were last read or written."""
        return self._held

    def reread(self) -> Mapping[str, Mark]:
        """As the file has them now; another page of the same run may have written.

        Raises:
            StoreError: the file is damaged.
        """
        self._held = self._read()
        return self._held

    def set(self, row: str, mark: Mark | None) -> None:
        """Marks a row, or takes its mark away.

        Raises:
            OSError: the folder cannot be written to; nothing has changed then.
        """
        found = dict(self.reread())
        if mark is None:
            found.pop(row, None)
        else:
            found[row] = mark
        rows = {id: asdict(one) for id, one in found.items()}
        write_json(self.path, {"version": _VERSION, "rows": rows})
        self._held = found

    def _read(self) -> dict[str, Mark]:
        if not self.path.is_file():
            return {}
        held = read_json(self.path)
        try:
            if held["version"] != _VERSION:
                raise ValueError(f"version {held['version']}, this one reads {_VERSION}")
            found = {str(id): Mark(**one) for id, one in held["rows"].items()}
            if any(one.mark not in WORDS for one in found.values()):
                raise ValueError("a mark that is none")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(
                f"{self.path}: not marks as this version writes them ({error}). Move the file away."
            ) from None
        return found
