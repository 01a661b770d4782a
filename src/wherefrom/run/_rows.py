"""The rows of a run: where they come from, and what a run is made from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wherefrom.data import Example, read_examples
from wherefrom.identity import digest_value
from wherefrom.run._config import RunConfig
from wherefrom.tasks import Task, TaskSize, build_task


def made_from(config: RunConfig) -> dict[str, Any]:
    """What two configs of one run must share: methods and further recipes may be added."""
    entries = config.model_dump(
        mode="json", exclude={"methods", "also", "also_methods", "index", "budget"}
    )
    tuning = entries.pop("finetune") or {}
    return entries | {f"finetune.{key}": value for key, value in tuning.items()}


def rows_digest(rows: Sequence[Example]) -> str:
    """Digest of rows in their order."""
    return digest_value([row.digest() for row in rows])


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Paths that exist as absolute ones, so that the run works from any folder."""
    places = {
        name: str(Path(value).absolute())
        for name in ("model", "adapter", "data", "queries")
        if (value := getattr(config, name)) is not None and Path(value).exists()
    }
    name, colon, argument = (config.task or "").partition(":")
    if colon and Path(argument).exists():
        places["task"] = f"{name}:{Path(argument).absolute()}"
    return config.model_copy(update=places)


def task_of(config: RunConfig) -> Task:
    """The task that a config names, at its size and seed."""
    assert config.task is not None
    size = TaskSize(config.train_per_class, config.queries_per_class)
    return build_task(config.task, size, config.seed)


def read_rows(config: RunConfig) -> tuple[list[Example], list[Example]]:
    """Training rows and queries that a config names."""
    if config.task is not None:
        built = task_of(config)
        return list(built.train), list(built.queries)
    assert config.data is not None
    train = read_examples(config.data, config.shape, config.split, config.limit)
    queries = read_examples(config.queries, config.shape) if config.queries else []
    return train, queries
