"""Scores that a check asks for, or in plain words why there are none."""

from __future__ import annotations

from collections.abc import Iterable

from wherefrom.diagnose._finding import NotMeasured
from wherefrom.diagnose._subject import FINAL, Subject
from wherefrom.errors import WherefromError
from wherefrom.methods import Evidence, parse_method, score_all
from wherefrom.scores import Scores


def scores_at(subject: Subject, spec: str, stage: str = FINAL) -> Scores:
    """Scores of a method at a stage.

    Raises:
        NotMeasured: there is no such stage, or the method lacks something there.
    """
    try:
        return subject.scores(spec, stage)
    except WherefromError as error:
        raise NotMeasured(f"{spec} at {stage}: {error}") from None


def scores_of(evidence: Evidence, spec: str) -> Scores:
    """Scores of a method on evidence.

    Raises:
        NotMeasured: the evidence lacks something that the method needs.
    """
    try:
        return score_all([parse_method(spec)], evidence).scores[0]
    except WherefromError as error:
        raise NotMeasured(f"{spec}: {error}") from None


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
