"""Guilty: one ranked list of training rows for a whole set of bad answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wherefrom.answers import Guilt
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.methods import Method, Trait, score_all
from wherefrom.run._asked import evidence_for, methods_for
from wherefrom.run._calibration import calibrated
from wherefrom.run._trace import with_answers
from wherefrom.scores import Scores

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def guilty(
    run: Run,
    bad: Sequence[Example],
    good: Sequence[Example] = (),
    method: str | None = None,
    *,
    k: int = 10,
    max_new_tokens: int = 64,
) -> Guilt:
    """The rows behind a set of bad answers; see `guilty_by`.

    Args:
        run: indexed for the method.
        bad: answers that should not have been given; the model is asked where a response is empty.
        good: answers to be kept.
        method: the method to score by; the run's leading one when None.
        k: rows of a bad answer that count as its first ones.
        max_new_tokens: longest answer the model is let give.
    """
    return guilty_by(run, [method or run.leading], bad, good, k, max_new_tokens)[0]


def guilty_by(
    run: Run,
    methods: Sequence[str],
    bad: Sequence[Example],
    good: Sequence[Example] = (),
    k: int = 10,
    max_new_tokens: int = 64,
) -> list[Guilt]:
    """One ranked list by each method, from one pass over the answers.

    Raises:
        SettingError: there is no bad answer, an answer is both bad and good, an id stands twice, or the run
            was not indexed for a method.
        IdentityError: the index is of another model, adapter or template.
    """
    if not bad:
        raise SettingError("no bad answer was given; there is nothing to be guilty of.")
    chosen = methods_for(run, methods)
    asked_bad = with_answers(run, _apart(bad, "bad"), max_new_tokens)
    asked_good = with_answers(run, _apart(good, "good"), max_new_tokens)
    _require_not_both(asked_bad, asked_good)
    found = calibrated(run, _scored(run, chosen, asked_bad, asked_good, max_new_tokens))
    ids = tuple(row.id for row in bad), tuple(row.id for row in good)
    train = tuple(run.train)
    return [
        Guilt(
            replace(one, values=one.values[: len(bad)], query_ids=ids[0]),
            replace(one, values=one.values[len(bad) :], query_ids=ids[1]) if good else None,
            train,
            k,
        )
        for one in found
    ]


def _apart(rows: Sequence[Example], side: str) -> list[Example]:
    """The rows under ids that no row of the other side has."""
    ids = [row.id for row in rows]
    twice = next((id for place, id in enumerate(ids) if id in ids[:place]), None)
    if twice is not None:
        raise SettingError(f"two {side} answers have the id {twice!r}; make ids unique.")
    return [replace(row, id=f"{side}/{row.id}") for row in rows]


def _require_not_both(bad: Sequence[Example], good: Sequence[Example]) -> None:
    known = {row.messages: row for row in bad}
    for row in good:
        if row.messages in known:
            other = known[row.messages]
            raise SettingError(
                f"the same answer is bad ({other.source or other.id}) and good ({row.source or row.id}); "
                "leave it out on one side."
            )


def _scored(
    run: Run,
    methods: Sequence[Method],
    bad: Sequence[Example],
    good: Sequence[Example],
    max_new_tokens: int,
) -> list[Scores]:
    """Scores of the bad answers and below them of the good ones, by each method."""
    # where a query's scores depend on the others, good answers must not change those of bad ones
    alone = [m for m in methods if Trait.QUERY_SET in m.traits and good]
    together = [m for m in methods if m not in alone]
    found: dict[str, Scores] = {}
    if together:
        evidence = evidence_for(run, [*bad, *good], together, max_new_tokens)
        found = {one.method: one for one in score_all(together, evidence).scores}
    if alone:
        sides = [
            score_all(alone, evidence_for(run, rows, alone, max_new_tokens)).scores
            for rows in (bad, good)
        ]
        found |= {first.method: _below(first, second) for first, second in zip(*sides, strict=True)}
    return [found[m.spec] for m in methods]


def _below(first: Scores, second: Scores) -> Scores:
    import numpy as np

    return replace(
        first,
        values=np.concatenate([first.values, second.values]),
        query_ids=(*first.query_ids, *second.query_ids),
    )
