"""The user's own data file, as long as it is what the run was made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.data import Example, read_examples
from wherefrom.errors import DataError, WherefromError
from wherefrom.identity import sha256_file

if TYPE_CHECKING:
    from wherefrom.run._run import Run


@dataclass(frozen=True)
class Original:
    """Where a run's rows can be had as the user wrote them.

    Attributes:
        path: the file, folder or hub name; None where it is not what the run was made from.
        sha256: of the file; None of anything else.
        why_not: why `path` is None; else empty.
    """

    path: str | None
    sha256: str | None = None
    why_not: str = ""

    def require_unchanged(self) -> None:
        """Refuses a file that somebody wrote to in the meantime.

        Raises:
            DataError: it is no longer what was read.
        """
        if self.sha256 is not None and self.path is not None:
            here = Path(self.path)
            if not here.is_file() or sha256_file(here) != self.sha256:
                raise DataError(f"{self.path}: was changed while it was read. Try again.")


def original_of(run: Run) -> Original:
    """The data that a run was made from, if all its rows still are those of the run's snapshot."""
    config = run.config
    if config.data is None:
        return Original(None, None, f"the run is of the task {config.task}, which has no data file")
    place = Path(config.data)
    try:
        before = sha256_file(place) if place.is_file() else None
        rows = read_examples(config.data, config.shape, config.split, config.limit)
    except (WherefromError, OSError) as error:
        return Original(None, None, f"{config.data} can no longer be read ({error})")
    other = _first_other(rows, run.train)
    if other is not None:
        return Original(
            None, None, f"{config.data} was changed after the run was made, first at {other}"
        )
    return Original(config.data, before)


def _first_other(rows: Sequence[Example], train: Sequence[Example]) -> str | None:
    """What differs first between a file and the snapshot of it; None where nothing does."""
    for now, then in zip(rows, train, strict=False):
        if _text(now) != _text(then):
            return then.source or then.id
    if len(rows) != len(train):
        return f"its number of rows ({len(rows)}, then {len(train)})"
    return None


def _text(row: Example) -> str:
    """As the snapshot has it."""
    return json.dumps(asdict(row), default=str)
