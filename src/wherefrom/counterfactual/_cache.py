"""The cache of outcomes: no model is trained twice, whoever asks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wherefrom.atomic import is_ours, mark_ours, read_json, write_json
from wherefrom.errors import StoreError
from wherefrom.identity import digest_value

Known = dict[str, dict[str, float]]
"""By digest of the query: its outcomes by name."""


class OutcomeCache:
    """Outcomes of retrained models on disk, one JSON file for each group of models trained together.

    A model's key holds everything that decides what it becomes: base weights, rows, settings, first
    weights, order of batches, seed, the rows' weights. Two jobs that come to the same key share the
    entry, and one that differs in anything cannot. A file is whole or absent, so a killed job loses
    the group in hand only.

    Args:
        folder: made where it is missing; may be shared by runs, methods and processes.

    Raises:
        StoreError: the folder holds other things, or a file in it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if folder.exists() and any(folder.iterdir()) and not is_ours(folder):
            raise StoreError(f"{folder} is no cache of outcomes. Give --cache another folder.")
        folder.mkdir(parents=True, exist_ok=True)
        mark_ours(folder)
        self._held: dict[str, Known] = {}
        self._seen: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Reads what other processes have added."""
        for path in sorted(self.folder.glob("*.json")):
            if path.name in self._seen:
                continue
            for entry in _entries(path):
                held = self._held.setdefault(entry["digest"], {})
                for query, outcomes in entry["outcomes"].items():
                    held.setdefault(query, {}).update(outcomes)
            self._seen.add(path.name)

    def get(
        self, key: Mapping[str, Any], queries: Sequence[str], outcome: str
    ) -> list[float] | None:
        """One outcome of a model, a number a query; None unless all of them are known."""
        held = self._held.get(digest_value(key), {})
        lines = [held.get(query, {}) for query in queries]
        return [line[outcome] for line in lines] if all(outcome in x for x in lines) else None

    def put(
        self, entries: Sequence[tuple[Mapping[str, Any], Known]], about: dict[str, Any]
    ) -> None:
        """Writes the outcomes of models that were trained together.

        Args:
            entries: key of each model, and its outcomes.
            about: versions and timings, for people.
        """
        lines: list[dict[str, Any]] = [
            {"digest": digest_value(key), "key": dict(key), "outcomes": outcomes}
            for key, outcomes in entries
        ]
        name = f"{digest_value([[x['digest'], sorted(x['outcomes'])] for x in lines])[:24]}.json"
        write_json(self.folder / name, {"about": about, "entries": lines})
        for line, (_, outcomes) in zip(lines, entries, strict=True):
            held = self._held.setdefault(line["digest"], {})
            for query, found in outcomes.items():
                held.setdefault(query, {}).update(found)
        self._seen.add(name)

    def __len__(self) -> int:
        return len(self._held)


def _entries(path: Path) -> list[dict[str, Any]]:
    fix = f"{path}: damaged; delete this file and the models in it are trained again."
    try:
        entries: list[dict[str, Any]] = read_json(path)["entries"]
        for entry in entries:
            if digest_value(entry["key"]) != entry["digest"]:
                raise StoreError(fix)
            json.dumps(entry["outcomes"], allow_nan=False)
            for outcomes in entry["outcomes"].values():
                assert all(isinstance(value, int | float) for value in outcomes.values())
    except (KeyError, TypeError, AttributeError, AssertionError, ValueError):
        raise StoreError(fix) from None
    return entries
