"""Scores that a check asks for, or in plain words why there are none."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from wherefrom.diagnose._finding import NotMeasured
from wherefrom.diagnose._subject import FINAL, Subject
from wherefrom.errors import WherefromError
from wherefrom.methods import Evidence, parse_method, score_all
from wherefrom.scores import Scores

_ROUNDING = 1e-5
"""Of the largest score: rows that are the same in other batches differ by less."""


def scores_at(subject: Subject, spec: str, stage: str = FINAL) -> Scores:
    """Scores of a method at a stage.

    Raises:
        NotMeasured: there is no such stage, the method lacks something there, or it tells no two rows
            apart for any query.
    """
    try:
        found = subject.scores(spec, stage)
    except WherefromError as error:
        raise NotMeasured(_told(f"{spec} at {stage}", spec, error)) from None
    if len(found.train_ids) > 1 and not _tells(found):
        raise NotMeasured(f"{spec} gives all training rows the same score at {stage}")
    return found


def scores_of(evidence: Evidence, spec: str) -> Scores:
    """Scores of a method on evidence.

    Raises:
        NotMeasured: the evidence lacks something that the method needs.
    """
    try:
        return score_all([parse_method(spec)], evidence, quiet=True).scores[0]
    except WherefromError as error:
        raise NotMeasured(_told(spec, spec, error)) from None


def _tells(scores: Scores) -> bool:
    """Whether the scores of any query differ by more than rounding."""
    values = scores.values.astype(np.float64)
    return bool((np.ptp(values, axis=1) > _ROUNDING * np.abs(values).max(axis=1)).any())


def _told(what: str, spec: str, error: WherefromError) -> str:
    # methods that complain name themselves
    return f"{what}: {str(error).removeprefix(f'{spec}: ')}"


def those_at(subject: Subject, specs: Iterable[str], stage: str = FINAL) -> dict[str, Scores]:
    """Scores of those of several methods that can be asked at a stage, by spec."""
    found = {}
    for spec in specs:
        try:
            found[parse_method(spec).spec] = scores_at(subject, spec, stage)
        except NotMeasured:
            continue
    return found


def require_queries(subject: Subject, at_least: int = 1) -> None:
    """Raises where there are too few queries to say anything.

    Raises:
        NotMeasured: that.
    """
    if len(subject.queries) < at_least:
        few = "there are no queries" if not subject.queries else "there are too few queries"
        raise NotMeasured(f"{few}; give at least {at_least}")
