"""Do the same few training rows top the ranking of every query?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.scores import Scores, ranking


@dataclass(frozen=True)
class Concentration:
    """How many different training rows are ranked first.

    Attributes:
        distinct: how many training rows are first for at least one query.
        of: number of queries.
        most_frequent: id of the row that is first most often.
        share: share of the queries for which it is first; near 1 = one outlier rules.
    """

    distinct: int
    of: int
    most_frequent: str
    share: float


def concentration(scores: Scores) -> Concentration:
    """How far the first places go to the same few training rows.

    A few rows with large gradients can top every ranking while the rest of it is sound; the
    released scores of arXiv 2409.19998 show that.

    Raises:
        SettingError: no query or no training row.
    """
    if not scores.values.size:
        raise SettingError(f"scores of {scores.method} are empty; score at least one query.")
    first = ranking(scores.values, scores.train_ids)[:, 0]
    rows, counts = np.unique(first, return_counts=True)
    # Of rows that are first equally often, the smallest id, so that row order plays no part.
    winner = min(
        zip(rows.tolist(), counts.tolist(), strict=True),
        key=lambda pair: (-pair[1], scores.train_ids[pair[0]]),
    )
    return Concentration(
        distinct=len(rows),
        of=len(first),
        most_frequent=scores.train_ids[winner[0]],
        share=winner[1] / len(first),
    )


def cardinality(scores: Scores, k: int) -> float:
    """Distinct training rows among the top k of all queries, as a share of all those places.

    Low where a method ranks the same rows first whatever is asked. Neither end is a goal: queries of
    one class should share rows. Source: Barshan et al. 2020, arXiv 2003.11630; the number is that of
    quanda's top-k cardinality (arXiv 2410.07158), with ties broken as `ranking` does.

    Args:
        scores: of one method.
        k: how many rows of each query are looked at.

    Returns:
        From 1 / queries (the same k rows for every query) to 1 (no row for two queries), or to
        rows / (k · queries) where there are fewer rows than places.

    Raises:
        SettingError: no query, or k is below 1 or above the number of training rows.
    """
    queries, rows = scores.values.shape
    if not queries or not 1 <= k <= rows:
        raise SettingError(
            f"k is {k} for {queries} queries and {rows} training rows of {scores.method}; give at "
            "least one query and a k from 1 to the number of rows."
        )
    first = ranking(scores.values, scores.train_ids)[:, :k]
    return len(np.unique(first)) / first.size
