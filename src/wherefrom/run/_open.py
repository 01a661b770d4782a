"""Opening a run for a verb: one that is there, with changes, or a new one of an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wherefrom.data import read_examples
from wherefrom.errors import SettingError
from wherefrom.progress import say
from wherefrom.run._beside import what_is_beside
from wherefrom.run._config import make_config
from wherefrom.run._run import Run
from wherefrom.world import world


def open_or_make(
    path: Path, makes: dict[str, Any], changes: dict[str, Any], index: dict[str, Any]
) -> Run:
    """Opens a run, or makes one of rows and an adapter that was trained elsewhere.

    Of several processes the first one makes it; queries that are given to a run are added to it.

    Args:
        path: the run folder.
        makes: settings that make a run what it is; only for a new one, which needs `data`.
        changes: settings that an existing run may be given anew.
        index: settings of the pass, likewise.

    Entries that are None were not given.

    Raises:
        SettingError: settings that make a run were given for one that exists, or too few for a new one.
    """
    with world().first_goes_first():
        return _opened(path, makes, changes, index)


def _opened(
    path: Path, makes: dict[str, Any], changes: dict[str, Any], index: dict[str, Any]
) -> Run:
    given = {key: value for key, value in makes.items() if value is not None}
    changed = {key: value for key, value in changes.items() if value is not None}
    passed = {key: value for key, value in index.items() if value is not None}
    if "data" in given:
        config = make_config("index", **given, **changed, index=passed)
        run = Run.create(path, config)
        if run.config.adapter or Path(run.config.model).is_dir():
            for line in what_is_beside(run.trajectory, len(run.train)):
                say(line)
        return run
    queries = given.pop("queries", None)
    if given:
        option = next(iter(given)).replace("_", "-")
        raise SettingError(
            f"--{option} belongs to the run from its beginning; give it with --data for a new run."
        )
    run = Run.open(path)
    old = run.config.model_dump(mode="json")
    found = run.changed(make_config("index", **(old | changed | {"index": old["index"] | passed})))
    if queries is not None and world().first:
        added = found.add_queries(read_examples(queries, found.config.shape))
        say(f"queries: {added} added, {len(found.queries)} in all")
    return found
