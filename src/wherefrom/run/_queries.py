"""The queries of a run: those it was made with, and those that were added later."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wherefrom.data import Example, write_snapshot
from wherefrom.errors import DataError, SettingError
from wherefrom.run._rows import rows_digest
from wherefrom.signals import Policy

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_ADDED = "added queries"
_NUMBERED = re.compile(r"row-\d{6}")


def batches(run: Run) -> list[str]:
    """Suffixes of the files and folders of each batch of queries: `""`, `-002`, `-003` …"""
    return ["", *(entry["suffix"] for entry in run.card.entries.get(_ADDED, []))]


def add_queries(run: Run, rows: Sequence[Example]) -> int:
    """Adds queries to a run; no signal that is there is touched.

    Rows that were added before are not added again, so that a command that was interrupted can be given
    again. Ids that only count rows get the name of their batch in front.

    Returns:
        How many rows were added.

    Raises:
        SettingError: the run is of a benchmark task, whose queries are its own.
        DataError: an id is another query's.
    """
    if run.config.task is not None:
        raise SettingError(
            f"{run.path} is a run of the task {run.config.task}, whose queries are its own. Ask it with "
            "`wherefrom trace`, or make a run of your own rows with --data."
        )
    if run.policy is Policy.GRAM:
        raise SettingError(
            f"{run.path}: its gradients were let go once their products with its queries were made (policy "
            "gram), so no query can be added. Index with --policy exact or projected and --restart."
        )
    added = run.card.entries.get(_ADDED, [])
    given = rows_digest(rows)
    original = run.card.entries.get("rows", {}).get("queries digest")
    if not rows or given == original or any(entry["given"] == given for entry in added):
        return 0
    suffix = f"-{len(added) + 2:03d}"
    taken = {query.id for query in run.queries}
    named = []
    for row in rows:
        if row.id in taken and not _NUMBERED.fullmatch(row.id):
            raise DataError(
                f"{row.source or 'queries'}: the id {row.id!r} is another query's in {run.path} already. "
                "Make ids unique, or leave the column out."
            )
        named.append(replace(row, id=f"queries{suffix}/{row.id}") if row.id in taken else row)
    write_snapshot(named, run.path / "data" / f"queries{suffix}.jsonl")
    entry = {"suffix": suffix, "given": given, "digest": rows_digest(named), "rows": len(named)}
    run.card.set(_ADDED, [*added, entry])
    run.forget_queries()
    return len(named)


def digest_of(run: Run, suffix: str) -> str | None:
    """What the run's card says that the digest of a batch of queries is."""
    if not suffix:
        found: str | None = run.card.entries.get("rows", {}).get("queries digest")
        return found
    found = next(e["digest"] for e in run.card.entries[_ADDED] if e["suffix"] == suffix)
    return found
