"""ReportData: everything a report says, and nothing about where it came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wherefrom.answers import TokenEvidence
from wherefrom.data import Example
from wherefrom.diagnose import Trust
from wherefrom.errors import DataError, IdentityError
from wherefrom.report._retraining import Retraining
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("recipe", "method", "metric", "value", "low", "high", "queries")

Key = tuple[str, str]
"""A recipe and a method: what one ranking of the training rows belongs to."""


# A data frame has no single truth value, so a generated __eq__ would raise: identity is compared.
@dataclass(frozen=True, kw_only=True, eq=False)
class ReportData:
    """What a report is made of.

    Attributes:
        title: heading of the page.
        about: what the task teaches, and which training rows count as relevant.
        evaluation: one line for each recipe, method and metric, with the columns of `COLUMNS`.
            Values and the ends of their 95 % intervals are fractions (0.5 is shown as 50 %), higher
            is better; NaN where unknown. Empty where no labels are known.
        train: the training rows, in the order of the columns of `scores`.
        queries: the queries, in the order of the rows of `scores`.
        scores: the scores of each recipe and method.
        seconds: time each method took; None where it was not measured.
        concentration: of each recipe and method, how many distinct training rows come first, of how
            many queries, the id of the row that does so most often, and its share of the queries.
        behaviour: share of the queries that show the taught behaviour, by moment (`before
            fine-tuning`, `after fine-tuning`), in the order of time.
        timings: seconds of each phase of the run.
        card: versions, hashes, seeds, hardware and settings; may be nested.
        notes: what went wrong or was cut during the run, counted.
        chance: expected value of each metric when the training rows are in random order.
        retraining: what became of models trained without some rows; None where none was.
        trust: whether the answers can be trusted; None where that was not checked.
        tokens: by recipe and method, for some queries by id: which tokens carry the scores of some of
            their top rows.
        no_tokens: why tokens are missing where a reader would look for them; empty where they are not.
        model: name of the model that was fine-tuned; empty where it is not known.
        source: name of the task or file that the training rows are from; empty where it is not known.

    Raises:
        DataError: `evaluation` lacks a column or has two values for one cell.
        IdentityError: ids of a method's scores are not those of `queries` and `train`, or an answer that
            was checked is of another run's rows.
    """

    title: str
    about: str
    evaluation: pd.DataFrame
    train: tuple[Example, ...]
    queries: tuple[Example, ...]
    scores: dict[Key, Scores]
    seconds: dict[Key, float | None] = field(default_factory=dict)
    concentration: dict[Key, tuple[int, int, str, float]] = field(default_factory=dict)
    behaviour: dict[str, float] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    chance: dict[str, float] = field(default_factory=dict)
    retraining: Retraining | None = None
    trust: Trust | None = None
    tokens: dict[Key, dict[str, tuple[TokenEvidence, ...]]] = field(default_factory=dict)
    no_tokens: str = ""
    model: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        self._check_evaluation()
        query_ids = tuple(query.id for query in self.queries)
        train_ids = tuple(row.id for row in self.train)
        for (recipe, method), scores in self.scores.items():
            _same(f"{method} ({recipe})", "queries", scores.query_ids, query_ids)
            _same(f"{method} ({recipe})", "training rows", scores.train_ids, train_ids)
        if self.trust is not None:
            _cited(self.trust, set(train_ids))

    def _check_evaluation(self) -> None:
        if self.evaluation.empty:
            return
        missing = [column for column in COLUMNS if column not in self.evaluation.columns]
        if missing:
            raise DataError(
                f"the evaluation lacks the columns {', '.join(missing)}; it has "
                f"{', '.join(map(str, self.evaluation.columns))}."
            )
        twice = self.evaluation.duplicated(subset=["recipe", "method", "metric"])
        if twice.any():
            recipe, method, metric = self.evaluation.loc[
                twice.to_numpy(), ["recipe", "method", "metric"]
            ].iloc[0]
            raise DataError(
                f"the evaluation has two values of {metric} for {method} ({recipe}). Keep one."
            )


def _cited(trust: Trust, known: set[str]) -> None:
    for trace in trust.traces:
        for row in trace.rows:
            if row not in known:
                raise IdentityError(
                    f"the check's answer to {trace.query!r} is the training row {row!r}, which the report "
                    "does not have: it is of other rows. Check this run anew with `wherefrom check`."
                )


def _same(name: str, what: str, scored: tuple[str, ...], known: tuple[str, ...]) -> None:
    if scored == known:
        return
    if len(scored) != len(known):
        raise IdentityError(
            f"scores of {name} cover {len(scored)} {what}, and the report has {len(known)}. Score "
            "the same rows that the report shows."
        )
    place = next(i for i, (a, b) in enumerate(zip(scored, known, strict=True)) if a != b)
    raise IdentityError(
        f"scores of {name} and the report disagree about the {what}: place {place} is "
        f"{scored[place]!r} in the scores and {known[place]!r} in the report. Give both the same "
        "rows in the same order."
    )
