"""Prune: the data set without the rows behind bad answers, and a manifest of what was left out and why."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wherefrom.answers import Guilt, GuiltyRow, group_numbers
from wherefrom.atomic import atomic_path, write_json
from wherefrom.data import ROW_ENDINGS, Example, as_rows, copy_rows, write_rows
from wherefrom.errors import DataError, SettingError
from wherefrom.identity import digest_value, sha256_file
from wherefrom.run._guilty import guilty
from wherefrom.run._original import Original, original_of
from wherefrom.run._rows import made_from, rows_digest

if TYPE_CHECKING:
    from wherefrom.run._run import Run

TOP = 50
VERSION = 1
"""Of the layout of the manifest."""


@dataclass(frozen=True)
class Removed:
    """A row that was left out.

    Attributes:
        id: its id in the run.
        number: its place in the training set, from 1.
        line: file and line that it was read from.
        why: in words.
        group: number of its group of near-duplicates.
        guilt: what is known of it where bad answers were given; None for a row that was named alone.
    """

    id: str
    number: int
    line: str
    why: str
    group: int
    guilt: GuiltyRow | None

    def to_json(self) -> dict[str, Any]:
        """As the manifest has it; the row's text stays in the data."""
        held = {"id": self.id, "number": self.number, "line": self.line, "why": self.why}
        known = None if self.guilt is None else asdict(self.guilt)
        names = ("rank", "guilt", "low", "high", "bad", "good", "hits")
        for name in (*names, "removal_bad", "removal_good"):
            held[name] = None if known is None else known[name]
        return held | {"group": self.group}


@dataclass(frozen=True)
class Pruned:
    """What pruning did.

    Attributes:
        path: the data set without the rows.
        manifest: what was left out and why.
        removed: these rows, the guiltiest cause first.
        kept: how many rows stay.
        rewritten: why the rows are those of the run's snapshot rather than of the user's file; empty where
            they are the file's own.
        spared: near-duplicates of the rows left out that stay.
        predicted: predicted mean change of the bad answers' log-probability without the rows, in nats, and
            of the good ones'; None where the method says nothing of it.
        causes: how many causes were above 0 of those that were asked for.
    """

    path: Path
    manifest: Path
    removed: tuple[Removed, ...]
    kept: int
    rewritten: str
    spared: int
    predicted: tuple[float | None, float | None]
    causes: int


def prune(
    run: Run,
    out: Path,
    bad: Sequence[Example] = (),
    good: Sequence[Example] = (),
    *,
    method: str | None = None,
    top: int = TOP,
    by_group: bool | None = None,
    rows: Sequence[str] = (),
    force: bool = False,
    never: Iterable[Path] = (),
    command: str | None = None,
) -> Pruned:
    """Writes a run's data set without the rows behind bad answers, and without rows that are named.

    The user's file is never touched. As long as it still is what the run was made from, the rows that stay
    are its own, every column and, in JSONL and CSV, every byte of them; else they are those of the run's
    snapshot.

    Args:
        run: indexed for the method, where bad answers are given.
        out: the file to write: `.jsonl`, `.json`, `.csv` or `.parquet`.
        bad: answers whose rows are to go.
        good: answers to be kept, held against them.
        method: the method to score by; the run's leading one when None.
        top: how many causes go; those whose guilt is not above 0 stay.
        by_group: near-duplicates go together. When None, they do where the bad answers choose, and do not
            for rows that are named.
        rows: ids of rows to leave out, whatever their guilt.
        force: replace `out` where it exists.
        never: files that must not be written to, beside the run's own.
        command: the command line, for the manifest.

    Raises:
        SettingError: `out` cannot be written to, or no row or every row would go.
        DataError: no row has an id that was named.
    """
    manifest = manifest_of(out)
    for path in (out, manifest):
        _require_free(run, path, force, never)
    if out.suffix.lower() not in ROW_ENDINGS:
        raise SettingError(f"{out}: rows are written as {', '.join(ROW_ENDINGS)}.")
    if not bad and not rows:
        raise SettingError("nothing says which rows to leave out: give bad answers, or name rows.")
    if good and not bad:
        raise SettingError("good answers are held against bad ones; give those too.")
    named = _places(run, rows)
    guilt = guilty(run, bad, good, method) if bad else None
    causes = guilt.guilty(top, by_group=by_group is not False) if guilt is not None else []
    if not causes and not named:
        raise SettingError(
            "no training row has a guilt above 0, so none of them pushed towards the bad answers more than "
            "towards the good ones. Nothing was written."
        )
    groups = group_numbers(run.train)
    removed = _removed(run, guilt, causes, named, groups, copies=by_group is True)
    gone = {one.number - 1 for one in removed}
    kept = [place for place in range(len(run.train)) if place not in gone]
    if not kept:
        raise SettingError(f"all {len(run.train)} rows would go; give a lower --top.")
    original = original_of(run)
    _write(run, original, kept, out)
    taken = {int(groups[place]) for place in gone}
    found = Pruned(
        path=out,
        manifest=manifest,
        removed=tuple(removed),
        kept=len(kept),
        rewritten=original.why_not,
        spared=sum(int(groups[place]) in taken for place in kept),
        predicted=(None, None) if guilt is None else guilt.predicted(sorted(gone)),
        causes=len(causes),
    )
    asked = {"bad": bad, "good": good}
    settings = {"top": top, "by_group": by_group, "named": len(named)}
    write_json(manifest, _told(run, found, guilt, asked, settings, original, command))
    return found


def manifest_of(out: Path) -> Path:
    """Where the manifest of a pruned data set lies: beside it."""
    return out.with_name(f"{out.name}.manifest.json")


def _require_free(run: Run, path: Path, force: bool, never: Iterable[Path]) -> None:
    sources = _sources(run)
    for other in (*sources, *never):
        same = path.resolve() == other.resolve()
        if same or (path.exists() and other.exists() and os.path.samefile(path, other)):
            whose = "what the run was made from" if other in sources else "what this command reads"
            raise SettingError(f"{path} is {whose} and is never written to. Choose another --out.")
        if other.is_dir() and path.resolve().is_relative_to(other.resolve()):
            raise SettingError(f"{path} lies in {other}, which is read. Choose another --out.")
    if path.resolve().is_relative_to(run.path.resolve()):
        raise SettingError(f"{path} lies in the run's folder. Choose an --out beside it.")
    if path.is_dir():
        raise SettingError(f"{path} is a folder. Give --out the name of a file.")
    if path.exists() and not force:
        raise SettingError(f"{path} exists. Choose another --out, or replace it with --force.")


def _sources(run: Run) -> list[Path]:
    """Files and folders that a run was made from."""
    config = run.config
    folder = (config.task or "").partition(":")[2]
    given = [one for one in (config.data, config.queries) if one is not None]
    return [Path(one) for one in given] + ([Path(folder)] if folder else [])


def _places(run: Run, ids: Sequence[str]) -> list[int]:
    known = {row.id: place for place, row in enumerate(run.train)}
    missing = [id for id in ids if id not in known]
    if missing:
        raise DataError(
            f"no training row of {run.path} has the id {missing[0]!r} ({len(missing)} such ids). Ids are "
            f"those that `wherefrom trace` prints, like {run.train[0].id!r}."
        )
    return list(dict.fromkeys(known[id] for id in ids))


def _removed(
    run: Run,
    guilt: Guilt | None,
    causes: Sequence[Sequence[int]],
    named: Sequence[int],
    groups: Any,
    *,
    copies: bool,
) -> list[Removed]:
    why: dict[int, str] = {}
    for rank, places in enumerate(causes, start=1):
        why[places[0]] = f"cause {rank} of the bad answers"
        for place in places[1:]:
            why.setdefault(place, f"near-duplicate of {run.train[places[0]].id}, cause {rank}")
    for place in named:
        why.setdefault(place, "named")
    for first in named if copies else []:
        for place, group in enumerate(groups):
            if group == groups[first]:
                why.setdefault(place, f"near-duplicate of {run.train[first].id}, which was named")
    lines = guilt.lines_of(list(why)) if guilt is not None else [None] * len(why)
    found = []
    for (place, text), line in zip(why.items(), lines, strict=True):
        row = run.train[place]
        if line is not None and guilt is not None:
            text += (
                f": guilt {line.guilt:.3g} by {guilt.method}, among the first {guilt.k} rows of "
                f"{line.hits} of {len(guilt.bad.query_ids)} bad answers"
            )
        found.append(Removed(row.id, place + 1, row.source, text, int(groups[place]), line))
    return found


def _write(run: Run, original: Original, kept: Sequence[int], out: Path) -> None:
    ending = out.suffix.lower()
    with atomic_path(out) as temporary:
        if original.path is None:
            write_rows(as_rows([run.train[i] for i in kept])[0], temporary, ending)
        else:
            copy_rows(original.path, kept, temporary, ending, run.config.split)
            original.require_unchanged()


def _told(
    run: Run,
    found: Pruned,
    guilt: Guilt | None,
    asked: dict[str, Sequence[Example]],
    settings: dict[str, Any],
    original: Original,
    command: str | None,
) -> dict[str, Any]:
    from wherefrom import __version__

    train = len(run.train)
    shape = as_rows(run.train)[1] if original.path is None else run.config.shape
    return {
        "version": VERSION,
        "wherefrom": __version__,
        "command": command,
        "run": {"path": str(run.path), "digest": digest_value(made_from(run.config))},
        "model": run.card.entries.get("model"),
        "rows": {"count": train, "digest": rows_digest(run.train)},
        "queries": {
            side: {
                "count": len(rows),
                "digest": rows_digest(rows),
                "lines": [row.source for row in rows],
            }
            for side, rows in asked.items()
        },
        "method": None if guilt is None else guilt.method,
        "method settings": {} if guilt is None else guilt.bad.settings,
        "unit": None if guilt is None else guilt.bad.unit,
        "settings": settings,
        "source": {
            "data": run.config.data or run.config.task,
            "sha256": original.sha256,
            "taken from": "the file" if original.path is not None else "the run's snapshot",
            "why not from the file": original.why_not or None,
        },
        "written": {
            "path": found.path.name,
            "rows": found.kept,
            "shape": shape,
            "sha256": sha256_file(found.path),
        },
        "predicted change of the log-probability, in nats": {
            "bad": found.predicted[0],
            "good": found.predicted[1],
        },
        "removed": [one.to_json() for one in found.removed],
    }
