"""The null: how a row scores for queries that have nothing to do with the one that is asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wherefrom.answers._spread import in_spreads
from wherefrom.errors import SettingError
from wherefrom.scores import Scores


@dataclass(frozen=True)
class Null:
    """A method's scores of unrelated queries: training rows asked as if they were queries.

    A row with a large gradient scores high whatever is asked. Its score says something of *this* query only
    where it is high among what the row scores for others. Scores of different queries have different
    spreads, so each query's are divided by their own root mean square first.

    Attributes:
        scores: unrelated queries × training rows; ids of the queries are those of training rows.
        unrelated: bool, queries × training rows: False where the query is the row itself or a near-copy.
    """

    scores: Scores
    unrelated: np.ndarray

    def percentiles(self, scores: Scores) -> np.ndarray:
        """Share of unrelated queries for which each row scores lower than for the first query of `scores`.

        Returns:
            float64, (training rows,), 0 to 1, ties as half; NaN where no query is unrelated to a row.

        Raises:
            SettingError: the scores are of another method or of other rows.
        """
        if (scores.method, scores.train_ids) != (self.scores.method, self.scores.train_ids):
            raise SettingError(
                f"a null of {self.scores.method} does not fit scores of {scores.method}, or of "
                "other rows."
            )
        own, others = in_spreads(scores.values[:1]), in_spreads(self.scores.values)
        below = (others < own) + 0.5 * (others == own)
        counts = self.unrelated.sum(0)
        sums = np.where(self.unrelated, below, 0.0).sum(0)
        return np.asarray(
            np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        )
