"""Metrics of the ranking: how early the relevant rows come.

All of them rank by `wherefrom.scores.ranking`, which breaks ties by a digest of the row's id. A
query without any relevant row cannot be judged and gives NaN.
"""

from __future__ import annotations

import numpy as np

from wherefrom.metrics._metric import Metric, metric, metric_at
from wherefrom.metrics._truth import Truth
from wherefrom.scores import Scores, ranking


def _ranked(scores: Scores, relevance: np.ndarray) -> np.ndarray:
    """Relevance in the order of rank: boolean, queries × training rows, best row first."""
    order = ranking(scores.values, scores.train_ids)
    return np.asarray(np.take_along_axis(relevance, order, axis=1))


def _where_relevant(values: np.ndarray, relevance: np.ndarray) -> np.ndarray:
    return np.where(relevance.any(axis=1), values, np.nan)


def _found_in_first(scores: Scores, relevance: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Relevant rows among the first `counts[q]` rows of each query."""
    first = np.arange(relevance.shape[1]) < counts[:, None]
    return np.asarray((_ranked(scores, relevance) & first).sum(axis=1))


@metric("accuracy")
def accuracy(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
    """Is the top-ranked row relevant?

    Returns:
        1.0 or 0.0 for each query.
    """
    one = np.ones(len(relevance), dtype=np.int64)
    return _where_relevant(_found_in_first(scores, relevance, one), relevance)


@metric("coverage")
def coverage(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
    """Share of the top c rows that are relevant, c = the number of relevant rows.

    Known as R-precision; perfect scores give 1 whatever the sizes of the classes.

    Returns:
        From 0 to 1 for each query.
    """
    c = relevance.sum(axis=1)
    return _where_relevant(_found_in_first(scores, relevance, c) / np.maximum(c, 1), relevance)


@metric("coverage_paper")
def coverage_paper(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
    """Share of the top c rows that are relevant, c = training rows // classes.

    As in the released code of arXiv 2409.19998. Where classes differ in size, perfect scores may
    stay far below 1: 20 relevant rows of 250 in 2 classes give 0.16 at most.

    Returns:
        From 0 to 1 for each query; NaN throughout where there are more classes than rows.
    """
    c = relevance.shape[1] // truth.n_classes
    if c == 0:
        return np.full(len(relevance), np.nan)
    found = _found_in_first(scores, relevance, np.full(len(relevance), c))
    return _where_relevant(found / c, relevance)


@metric("average_precision")
def average_precision(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
    """Mean, over the relevant rows, of the share of relevant rows down to that row's rank.

    Returns:
        From 0 to 1 for each query.
    """
    ranked = _ranked(scores, relevance)
    precision = ranked.cumsum(axis=1) / np.arange(1, ranked.shape[1] + 1)
    total = np.maximum(ranked.sum(axis=1), 1)
    return _where_relevant((precision * ranked).sum(axis=1) / total, relevance)


@metric("mrr")
def reciprocal_rank(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
    """One divided by the rank of the first relevant row; its mean is the MRR.

    Returns:
        Above 0, up to 1, for each query.
    """
    if not relevance.shape[1]:
        return np.full(len(relevance), np.nan)
    return _where_relevant(1.0 / (_ranked(scores, relevance).argmax(axis=1) + 1), relevance)


@metric_at("recall", 10, 50)
def recall_at(k: int) -> Metric:
    """Share of the relevant rows found in the top k rows.

    Where a query has more than k relevant rows, it cannot reach 1: the best is k / relevant rows.
    """

    def recall(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
        found = _found_in_first(scores, relevance, np.full(len(relevance), k))
        return _where_relevant(found / np.maximum(relevance.sum(axis=1), 1), relevance)

    return recall
