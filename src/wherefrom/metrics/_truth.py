"""Truth: which training rows a method should have found for each query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import DataError, IdentityError, SettingError
from wherefrom.metrics._places import places
from wherefrom.scores import Scores
from wherefrom.tasks import Task

_FIX = "Judge scores against the task they were made for."


@dataclass(frozen=True)
class Truth:
    """The right answer to a set of queries.

    Attributes:
        relevance: boolean, queries × training rows: True where the row should be found.
        n_classes: how many classes the training rows have.
        query_ids: ids of the rows of `relevance`; empty where nobody named them.
        train_ids: ids of the columns of `relevance`; empty where nobody named them.

    Raises:
        SettingError: `relevance` is not a boolean matrix, there is no class, or ids do not fit it.
    """

    relevance: np.ndarray
    n_classes: int
    query_ids: tuple[str, ...] = ()
    train_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.relevance.shape
        if self.relevance.ndim != 2 or self.relevance.dtype != np.bool_:
            raise SettingError(
                f"relevance is {self.relevance.dtype} of shape {shape}; give a boolean matrix, "
                "queries × training rows."
            )
        if self.n_classes < 1:
            raise SettingError(f"n_classes is {self.n_classes}; give a whole number from 1.")
        for name, ids, size in (
            ("query_ids", self.query_ids, shape[0]),
            ("train_ids", self.train_ids, shape[1]),
        ):
            if ids and (len(ids) != size or len(set(ids)) != size):
                raise SettingError(
                    f"{name} has {len(set(ids))} different ids for {size} rows. Name each row once."
                )

    @classmethod
    def of(cls, task: Task) -> Truth:
        """The truth of a task: a training row is relevant where its class is the query's."""
        return cls.from_labels(task.train, task.queries)

    @classmethod
    def from_labels(cls, train: Sequence[Example], queries: Sequence[Example]) -> Truth:
        """The truth of labelled rows: a training row is relevant where its class is the query's.

        Raises:
            DataError: a row has no label, or a query has one that no training row has.
        """
        known = {row.label for row in train}
        for row in (*train, *queries):
            if row.label is None:
                raise DataError(
                    f"{row.source or 'row'} (id {row.id!r}): has no class. Give every row a column "
                    "variation, label, class or category."
                )
        for query in queries:
            if query.label not in known:
                raise DataError(
                    f"{query.source or 'query'} (id {query.id!r}): class {query.label!r} has no "
                    "training row. Add one or drop the query."
                )
        classes = np.array([row.label for row in train], dtype=object)
        wanted = np.array([row.label for row in queries], dtype=object)
        return cls(
            relevance=np.asarray(wanted[:, None] == classes[None, :], dtype=bool),
            n_classes=len(known),
            query_ids=tuple(row.id for row in queries),
            train_ids=tuple(row.id for row in train),
        )

    def chance(self) -> dict[str, float]:
        """What training rows in random order get, for the metrics where that is a plain number."""
        share = float(self.relevance.mean()) if self.relevance.size else 0.0
        return {"accuracy": share, "coverage": share, "coverage_paper": share, "auroc": 0.5}

    def for_scores(self, scores: Scores) -> np.ndarray:
        """Relevance in the order of the scores' queries and training rows.

        Scores may hold fewer queries than the truth, but must hold every training row: a method
        that leaves rows out would else be judged on an easier task.

        Returns:
            Boolean, queries of the scores × training rows of the scores.

        Raises:
            IdentityError: an id is on one side only or occurs twice, or the rows have no names
                and the shapes differ.
        """
        relevance = self.relevance
        if not (self.query_ids and self.train_ids) and scores.values.shape != relevance.shape:
            raise IdentityError(
                f"scores of {scores.method} have shape {scores.values.shape}, the truth has "
                f"{relevance.shape}. Judge them against the task they were made for."
            )
        method = scores.method
        if self.query_ids:
            wanted = (scores.query_ids, self.query_ids, "query", method, "the truth", _FIX)
            relevance = relevance[places(*wanted)]
        if self.train_ids:
            row = "training row"
            places(self.train_ids, scores.train_ids, row, "the truth", method, _FIX)
            columns = places(scores.train_ids, self.train_ids, row, method, "the truth", _FIX)
            relevance = relevance[:, columns]
        return np.asarray(relevance, dtype=bool)
