"""Metrics of the scores themselves: how well they part relevant rows from the others."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from wherefrom.metrics._metric import metric
from wherefrom.metrics._truth import Truth
from wherefrom.scores import Scores


@metric("auroc")
def auroc(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
    """Chance that a relevant row scores above one that is not; a tie counts half.

    The Mann–Whitney statistic over average ranks.

    Returns:
        From 0 to 1 for each query, 0.5 where the scores say nothing; NaN where all rows are
        relevant, or none.
    """
    positives = relevance.sum(axis=1)
    negatives = relevance.shape[1] - positives
    pairs = positives * negatives
    ranks = rankdata(scores.values, axis=1)
    above = (ranks * relevance).sum(axis=1) - positives * (positives + 1) / 2
    return np.where(pairs > 0, above / np.maximum(pairs, 1), np.nan)
