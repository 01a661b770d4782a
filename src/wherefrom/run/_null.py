"""Scores beside their null: training rows asked as if they were queries, from stored signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wherefrom.answers import Null, group_numbers
from wherefrom.methods import (
    BlockMethod,
    DirectMethod,
    Evidence,
    Method,
    Point,
    ReplayMethod,
    Trait,
    score_all,
)
from wherefrom.scores import Scores, tiebreaks
from wherefrom.signals import AppendedSignals, Side, SomeRows, Source

ASKED = 64
"""Unrelated queries of a null."""
_FEWEST = 8
"""Rows below which a share of unrelated queries says nothing."""


def score_with_nulls(
    methods: Sequence[Method], evidence: Evidence, *, quiet: bool = False
) -> tuple[list[Scores], dict[str, Null]]:
    """Scores the queries, and with them some training rows as unrelated queries.

    The model is not run for those: their signals are in the index. Drawn by a digest of their ids, they are
    the same for every question.

    Args:
        methods: of an answer.
        evidence: theirs.
        quiet: show no bar.

    Returns:
        Every method's scores of the queries; and by spec the null, of methods that can ask training rows.
    """
    rows = evidence.train_rows
    with_null = [m for m in methods if len(rows) >= _FEWEST and _can_ask_rows(m)]
    found = {}
    nulls: dict[str, Null] = {}
    if with_null:
        chosen = np.argsort(tiebreaks([row.id for row in rows]), kind="stable")[:ASKED].tolist()
        groups = group_numbers(rows)
        unrelated = groups[chosen][:, None] != groups[None, :]
        own = len(evidence.query_rows)
        for both in score_all(with_null, _also_asking(evidence, chosen), quiet=quiet).scores:
            found[both.method] = replace(
                both, values=both.values[:own], query_ids=both.query_ids[:own]
            )
            null = replace(both, values=both.values[own:], query_ids=both.query_ids[own:])
            nulls[both.method] = Null(null, unrelated)
    rest = [m for m in methods if m not in with_null]
    found |= {one.method: one for one in score_all(rest, evidence, quiet=quiet).scores}
    return [found[m.spec] for m in methods], nulls


def _can_ask_rows(m: Method) -> bool:
    """Whether training rows can stand beside the queries: not where they would change the queries' scores,
    need a reference answer, a replay or draws, or their text embedded.
    """
    if isinstance(m, ReplayMethod) or Trait.QUERY_SET in m.traits:
        return False
    if isinstance(m, DirectMethod):
        return not m.requires
    return isinstance(m, BlockMethod) and not m.reference


def _also_asking(evidence: Evidence, rows: Sequence[int]) -> Evidence:
    changed: dict[int, Point] = {}

    def also(point: Point) -> Point:
        # the final model may be the last checkpoint too, and stays the same object
        if id(point) not in changed:
            sources = dict(point.sources)
            if {Side.TRAIN, Side.QUERY} <= sources.keys():
                sources[Side.QUERY] = _beside(sources[Side.QUERY], sources[Side.TRAIN], rows)
            changed[id(point)] = replace(point, sources=sources)
        return changed[id(point)]

    return replace(
        evidence,
        query_rows=[*evidence.query_rows, *(evidence.train_rows[i] for i in rows)],
        final=also(evidence.final),
        checkpoints=[also(point) for point in evidence.checkpoints],
        base=None if evidence.base is None else also(evidence.base),
        draws=[also(point) for point in evidence.draws],
    )


def _beside(queries: Source, train: Source, rows: Sequence[int]) -> Source:
    return AppendedSignals([queries, SomeRows(train, rows, queries.identity)])
