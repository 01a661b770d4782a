"""Features: what a verdict on an answer is told from, one number each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from wherefrom.counterfactual import without_top
from wherefrom.diagnose._finding import NotMeasured
from wherefrom.diagnose._random_rows import random_rows
from wherefrom.diagnose._subject import FINAL, Subject
from wherefrom.diagnose._trust import SpotCheck
from wherefrom.errors import StoreError

LEXICAL = ("bm25", "tfidf")
"""Methods that see nothing but words."""
_DRAWS = 200
_SAME = 3.0

Column = Callable[["Answers"], np.ndarray]
Scale = Literal["margin", "share"]
"""A margin is squashed standard deviations beyond what random rows and those nearest by words do."""


@dataclass(frozen=True)
class Feature:
    """One number that a verdict is told from.

    Attributes:
        column: how it is computed, (queries,).
        about: what it is, in a few words.
        scale: what one unit of it is.
    """

    column: Column
    about: str
    scale: Scale

    def shown(self, value: float) -> str:
        """A value as people read it."""
        if self.scale == "margin":
            return f"{np.sinh(value):+.1f} standard deviations"
        return f"{value:.0%}"


FEATURES: dict[str, Feature] = {}
"""Every feature by name."""


def feature(about: str, scale: Scale) -> Callable[[Column], Column]:
    """Registers a feature under its function's name.

    Args:
        about: what it is, in a few words.
        scale: what one unit of it is.
    """

    def register(column: Column) -> Column:
        FEATURES[column.__name__] = Feature(column, about, scale)
        return column

    return register


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a subject's method to its queries.

    Attributes:
        subject: whose.
        spots: the spot check of queries, by id; of others none was made.
    """

    subject: Subject
    spots: Mapping[str, SpotCheck] = field(default_factory=dict)

    @cached_property
    def tops(self) -> np.ndarray:
        """The top rows of each query: boolean, queries × training rows."""
        return self.top(self.subject.method)

    def top(self, spec: str, stage: str = FINAL) -> np.ndarray:
        """The top rows of each query by a method at a stage: boolean, queries × training rows."""
        scores = self.subject.scores(spec, stage)
        return ~without_top(scores, self.subject.k, self._ids)

    @cached_property
    def lexical(self) -> list[np.ndarray]:
        """The rows nearest by words: boolean, queries × training rows, for each measure."""
        return [self.top(spec) for spec in LEXICAL]

    @cached_property
    def random(self) -> np.ndarray:
        """Random sets of as many rows: boolean, draws × rows."""
        return random_rows(self._ids, self.subject.k, _DRAWS)

    @cached_property
    def along(self) -> list[str]:
        """Names of the states that stand for a part of the run, in the order of training.

        The end is seldom among them: once rows are known by heart, hardly a gradient is left there.

        Raises:
            NotMeasured: no pass was made at any.
        """
        stages = self.subject.stages
        found = [one.name for one in stages if one.point.sources and one.point.reach]
        if not set(found) - {FINAL}:
            raise NotMeasured("no pass was made at a checkpoint")
        return found

    @cached_property
    def gains(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gains of the spot check: top rows (queries,), random (draws × queries), lexical (sets × queries).

        Raises:
            NotMeasured: no spot check was made.
        """
        if not self.spots:
            raise NotMeasured("no spot check was made")
        some = next(iter(self.spots.values()))
        nothing = SpotCheck(
            np.nan, (np.nan,) * len(some.random), (np.nan,) * len(some.lexical), np.nan
        )
        made = [self.spots.get(query.id, nothing) for query in self.subject.queries]
        return (
            np.array([spot.gain for spot in made]),
            np.array([spot.random for spot in made]).T,
            np.array([spot.lexical for spot in made]).T,
        )

    @property
    def _ids(self) -> tuple[str, ...]:
        return tuple(row.id for row in self.subject.train)


def features(answers: Answers) -> list[dict[str, float | None]]:
    """Every feature of every query's answer; None where it is not known."""
    columns = {name: _column(one.column, answers) for name, one in FEATURES.items()}
    return [
        {name: None if column is None else _finite(column[q]) for name, column in columns.items()}
        for q in range(len(answers.subject.queries))
    ]


def _column(column: Column, answers: Answers) -> np.ndarray | None:
    try:
        return column(answers)
    except (NotMeasured, StoreError):
        # not known, or signals that no pass was made for
        return None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


@feature(
    "drop without the top rows that influence along the run predicts, "
    "beyond random rows and those nearest by words",
    "margin",
)
def predicted_along(answers: Answers) -> np.ndarray:
    # leaving rows out acts along the whole run, so every part of it has a say
    return np.asarray(np.mean([_predicted(answers, "influence", s) for s in answers.along], axis=0))


@feature(
    "drop without the top rows that influence at the end predicts, "
    "beyond random rows and those nearest by words",
    "margin",
)
def predicted_at_end(answers: Answers) -> np.ndarray:
    return _predicted(answers, "influence", FINAL)


@feature(
    "effect of the top rows by gradient cosine along the run, "
    "beyond random rows and those nearest by words",
    "margin",
)
def predicted_by_cosine(answers: Answers) -> np.ndarray:
    found = [_predicted(answers, "gradient_cosine", stage) for stage in answers.along]
    return np.asarray(np.mean(found, axis=0))


@feature(
    "share of the top rows that are on top at earlier checkpoints as well",
    "share",
)
def stable(answers: Answers) -> np.ndarray:
    earlier, method = [s for s in answers.along if s != FINAL], answers.subject.method
    found = [_overlap(answers.tops, answers.top(method, name)) for name in earlier]
    return np.asarray(np.mean(found, axis=0))


@feature(
    "gain by a training step on the top rows, beyond random rows and those nearest by words",
    "margin",
)
def spot(answers: Answers) -> np.ndarray:
    return _margin(answers, *answers.gains)


@feature(
    "share of the top rows that are among the nearest by words",
    "share",
)
def lexical_overlap(answers: Answers) -> np.ndarray:
    return np.asarray(np.max([_overlap(answers.tops, sets) for sets in answers.lexical], axis=0))


@feature(
    "share of the positive score that the top rows hold",
    "share",
)
def concentrated(answers: Answers) -> np.ndarray:
    values = answers.subject.scores(answers.subject.method).values.astype(np.float64)
    scores = np.maximum(values, 0)
    return np.asarray((scores * answers.tops).sum(1) / np.maximum(scores.sum(1), 1e-300))


def _overlap(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one & other).sum(1) / np.maximum(1, one.sum(1)))


def _predicted(answers: Answers, spec: str, stage: str) -> np.ndarray:
    scores = answers.subject.scores(spec, stage).values
    words = np.array([(scores * sets).sum(1) for sets in answers.lexical])
    return _margin(answers, (scores * answers.tops).sum(1), answers.random @ scores.T, words)


def _margin(
    answers: Answers, own: np.ndarray, random: np.ndarray, lexical: np.ndarray
) -> np.ndarray:
    """How far the top rows' effect lies beyond what the label asks for, (queries,).

    The smaller of two distances: to the 95th percentile of random sets in their standard deviations, and
    to the nearest lexical set in standard deviations of as many rows as the two do not share. Squashed,
    since a hundred standard deviations say no more than ten do.

    Args:
        answers: whose top rows.
        own: effect of the top rows, (queries,).
        random: of random sets, draws × queries.
        lexical: of the rows nearest by words, sets × queries.
    """
    spread = np.maximum(random.std(0), 1e-12)
    found = (own - np.quantile(random, 0.95, axis=0)) / spread
    for values, sets in zip(lexical, answers.lexical, strict=True):
        apart = 1 - _overlap(answers.tops, sets)
        distance = (own - values) / (spread * np.sqrt(np.maximum(apart, 0.1)))
        # the same rows cannot do more than themselves
        found = np.minimum(found, np.where(apart > 0, distance, -_SAME))
    return np.asarray(np.arcsinh(found))


Known = Mapping[str, float | None]
"""Features of one answer by name; None where unknown."""
