"""Intervals by resampling: of queries, of seeds, of whatever else was drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wherefrom.errors import SettingError

LEVEL = 95


class Estimate(NamedTuple):
    """A number with its 95 % interval.

    Attributes:
        value: the number itself.
        low: low end; NaN where nothing can be said.
        high: high end.
    """

    value: float
    low: float
    high: float


def ends(resampled: np.ndarray) -> tuple[float, float]:
    """Ends of the 95 % percentile interval; NaN among the resamples is left out."""
    defined = resampled[np.isfinite(resampled)]
    if not len(defined):
        return np.nan, np.nan
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)


def multiplicities(queries: int, resamples: int, seed: int) -> np.ndarray:
    """How often each query is drawn in each resample: float64, resamples × queries.

    The same numbers always give the same draws, so intervals of different methods and metrics
    rest on the same resampled queries and can be compared pair by pair.

    Raises:
        SettingError: fewer than one resample, or a negative seed.
    """
    _check(resamples, seed)
    rng = np.random.default_rng(seed)
    if not queries:
        return np.zeros((resamples, 0))
    drawn = rng.integers(queries, size=(resamples, queries))
    cells = drawn + queries * np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=resamples * queries)
    return counts.reshape(resamples, queries).astype(np.float64)


def crossed_multiplicities(sizes: Sequence[int], resamples: int, seed: int) -> list[np.ndarray]:
    """Multiplicities of several things that are drawn independently of each other in each resample.

    Args:
        sizes: how many there are of each: subsets, seeds, queries.
        resamples: how many resamples there are.
        seed: which are drawn.

    Returns:
        For each size, float64, size × resamples.

    Raises:
        SettingError: fewer than one resample, or a negative seed.
    """
    _check(resamples, seed)
    # One seed for all would tie which queries are drawn to which subsets are.
    streams = np.random.SeedSequence(seed).generate_state(len(sizes))
    return [
        np.ascontiguousarray(multiplicities(size, resamples, int(stream)).T)
        for size, stream in zip(sizes, streams, strict=True)
    ]


def mean_of_drawn(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the queries of each resample, each query as often as it was drawn.

    Args:
        values: queries × resamples; NaN is left out.
        counts: float64, queries × resamples.

    Returns:
        float64, one mean for each resample; NaN where no query with a value was drawn.
    """
    defined = np.isfinite(values)
    drawn = (counts * defined).sum(axis=0)
    sums = (counts * np.where(defined, values, 0.0)).sum(axis=0)
    return np.where(drawn > 0, sums / np.maximum(drawn, 1), np.nan)


def content_order(rows: np.ndarray) -> np.ndarray:
    """An order of the rows of a matrix that depends on what they hold, not on where they stand.

    Resamples are drawn by place; in this order, they do not depend on the order of the rows.
    """
    return np.lexsort(rows.T[::-1])


def interval(values: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Mean over the queries, and the ends of its 95 % percentile interval.

    Args:
        values: one for each query; NaN is left out.
        weights: from `multiplicities`.

    Returns:
        Mean, low end, high end. The mean is NaN where no query has a value; the ends are NaN where
        fewer than two have one, since a single query says nothing about others.
    """
    defined = np.isfinite(values)
    if not defined.any():
        return np.nan, np.nan, np.nan
    mean = float(values[defined].mean())
    if defined.sum() < 2:
        return mean, np.nan, np.nan
    drawn = weights[:, defined].sum(axis=1)
    sums = weights[:, defined] @ values[defined]
    # A resample may hit undefined queries only, and then has no mean.
    means = sums[drawn > 0] / drawn[drawn > 0]
    return mean, *ends(means)


def pooled_interval(
    seeds: Sequence[np.ndarray], resamples: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean over seeds of the mean over queries, and its interval from resampling both.

    Each resample draws seeds with replacement, and within each drawn seed its queries, so the interval
    widens with how much the seeds disagree.

    Args:
        seeds: for each seed, one value for each query; NaN is left out.
        resamples: how many resamples make the interval.
        seed: which resamples are drawn.

    Returns:
        Mean, low end, high end, as `interval` gives them; with one seed, the same as `interval`.
    """
    if len(seeds) == 1:
        return interval(seeds[0], multiplicities(len(seeds[0]), resamples, seed))
    defined = [np.asarray(v)[np.isfinite(v)] for v in seeds if np.isfinite(v).any()]
    if not defined:
        return np.nan, np.nan, np.nan
    rng = np.random.default_rng(seed)
    drawn = []
    mean = float(np.mean([values.mean() for values in defined]))
    if max(len(values) for values in defined) < 2:
        return mean, np.nan, np.nan
    for _ in range(resamples):
        chosen = rng.integers(len(defined), size=len(defined))
        drawn.append(np.mean([rng.choice(defined[i], len(defined[i])).mean() for i in chosen]))
    return mean, *ends(np.array(drawn))


def _check(resamples: int, seed: int) -> None:
    if resamples < 1 or seed < 0:
        raise SettingError(
            f"resamples is {resamples} and the seed {seed}; give at least 1 and at least 0."
        )
