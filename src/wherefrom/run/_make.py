"""Making a run folder: rows, config and card, and nothing computed yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.atomic import is_ours, mark_ours
from wherefrom.data import write_snapshot
from wherefrom.errors import SettingError
from wherefrom.run._config import RunConfig, write_config
from wherefrom.run._rows import made_from, read_rows, rows_digest, with_absolute_paths

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_RESULTS = ("adapter", "model", "trajectory", "signals", "scores")


def make_run(kind: type[Run], path: Path, config: RunConfig) -> Run:
    """Makes a run folder with its rows, or takes up the one that is there; see `Run.create`."""
    config = with_absolute_paths(config)
    if (path / "run.yaml").is_file():
        held = kind.open(path)
        # rows alone cost nothing: a mistyped first command does not block the second
        results = any((path / name).exists() for name in _RESULTS)
        if results or made_from(held.config) == made_from(config):
            return held.changed(config)
    elif path.exists() and any(path.iterdir()) and not is_ours(path):
        raise SettingError(f"{path} is not empty and is no run folder. Use another --out.")
    train, queries = read_rows(config)
    path.mkdir(parents=True, exist_ok=True)
    mark_ours(path)
    write_snapshot(train, path / "data" / "train.jsonl")
    write_snapshot(queries, path / "data" / "queries.jsonl")
    write_config(config, path / "run.yaml")
    made = kind(path, config)
    made.card.set(
        "rows",
        {
            "train": len(train),
            "train digest": rows_digest(train),
            "queries": len(queries),
            "queries digest": rows_digest(queries),
            "seed": config.seed,
        },
    )
    return made
