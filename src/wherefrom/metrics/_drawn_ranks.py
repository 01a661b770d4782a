"""Ranks, rank correlation and average precision of things that were drawn several times.

A resample of n things holds some of them twice and leaves others out. Here it stays a column of
counts over the n things: no value is copied, and the same counts serve every method.
"""

from __future__ import annotations

import numpy as np


def midranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average ranks within each resample, from 1.

    Copies of a thing tie with each other, as do things of one value.

    Args:
        values: one for each thing.
        counts: float64, things × resamples: how often each was drawn.

    Returns:
        float64, things × resamples; of no meaning where the count is 0.
    """
    drawn, group = _by_value(values, counts)
    below = drawn.cumsum(axis=0) - drawn
    return np.asarray((below + (drawn + 1) / 2)[group])


def rank_correlation(first: np.ndarray, second: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Spearman's correlation within each resample: Pearson's of average ranks.

    Args:
        first: from `midranks`, things × resamples.
        second: likewise.
        counts: those that both were made with.

    Returns:
        float64, from -1 to 1 for each resample; NaN where either side is constant.
    """
    middle = (counts.sum(axis=0) + 1) / 2
    a, b = first - middle, second - middle
    weighted = counts * a
    product = np.einsum("ir,ir->r", weighted, a) * np.einsum("ir,ir->r", counts * b, b)
    together = np.einsum("ir,ir->r", weighted, b)
    varied = product > 0
    return np.where(varied, together / np.sqrt(np.where(varied, product, 1.0)), np.nan)


def precision_area(values: np.ndarray, relevant: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Average precision within each resample: precision at each step of recall, no interpolation.

    Things of one value enter together, so no order among them plays a part.

    Args:
        values: one for each thing, highest first.
        relevant: boolean, one for each thing.
        counts: float64, things × resamples: how often each was drawn.

    Returns:
        float64, above 0 and up to 1 for each resample; NaN where nothing relevant was drawn.
    """
    drawn, _ = _by_value(-values, counts)
    hits, _ = _by_value(-values, counts * relevant[:, None])
    total = hits.sum(axis=0)
    precision = hits.cumsum(axis=0) / np.maximum(drawn.cumsum(axis=0), 1)
    area = (hits * precision).sum(axis=0)
    return np.where(total > 0, area / np.maximum(total, 1), np.nan)


def _by_value(values: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of each distinct value, ascending, and which of these values each thing has."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    return np.add.reduceat(counts[order], starts, axis=0), group
