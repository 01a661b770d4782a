"""Printing what pruning left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wherefrom.cli._options import Format
from wherefrom.cli._print import print_rows
from wherefrom.cli._print_guilty import span
from wherefrom.progress import say
from wherefrom.safetext import one_line

if TYPE_CHECKING:
    from wherefrom.run import Pruned, Run

_SHOWN = 20
"""Rows that people are shown; the manifest has all."""


def print_pruned(run: Run, found: Pruned, top: int | None, form: Format) -> None:
    """Prints the rows that were left out; JSON is the manifest, and other forms have all of them.

    Args:
        run: whose rows.
        found: what pruning did.
        top: how many causes were asked for; None where rows were named alone.
        form: how.
    """
    if form is Format.json:
        print(json.dumps(json.loads(found.manifest.read_text(encoding="utf-8")), indent=2))
    else:
        _print_removed(run, found, form)
    before = len(run.train)
    say(f"left out {len(found.removed)} of {before} rows; {found.kept} stay: {found.path}")
    if top is not None and found.causes < top:
        say(f"{found.causes} of {top} causes have a guilt above 0; the others stay.")
    bad, good = found.predicted
    if bad is not None:
        told = f"predicted without them, to first order: bad answers {bad:+.3g} nats a token"
        say(told + ("" if good is None else f", good ones {good:+.3g}") + " on average")
    if found.spared:
        say(f"{found.spared} near-duplicates of them stay; --by-group takes them along.")
    if found.rewritten:
        say(f"warning: the rows are those of the run's snapshot: {found.rewritten}.")
    say(f"what and why: {found.manifest}")
    if run.config.finetune is not None:
        say(f"next: wherefrom retrain {run.path} --data {found.path} --queries …")


def _print_removed(run: Run, found: Pruned, form: Format) -> None:
    shown = found.removed if form is not Format.table else found.removed[:_SHOWN]
    wide = form is not Format.table
    rows = []
    for one in shown:
        row, known = run.train[one.number - 1], one.guilt
        rows.append(
            [
                None if known is None else known.rank,
                None if known is None else span(known.guilt, known.low, known.high),
                one.number,
                one.id if wide else one_line(one.id, 30),
                one.line if wide else one_line(one.line, 30),
                row.prompt if wide else one_line(row.prompt, 50),
                row.response if wide else one_line(row.response, 40),
                one.why if wide else one_line(one.why.partition(": guilt")[0], 70),
            ]
        )
    names = ["rank", "guilt", "row", "id", "line", "prompt", "response", "why"]
    print_rows(names, rows, form)
    if len(shown) < len(found.removed):
        print(f"… and {len(found.removed) - len(shown)} more; the manifest has all of them")
