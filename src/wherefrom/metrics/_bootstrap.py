"""Intervals by resampling the queries, and the seeds where there are several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.errors import SettingError

LEVEL = 95


def multiplicities(queries: int, resamples: int, seed: int) -> np.ndarray:
    """How often each query is drawn in each resample: float64, resamples × queries.

    The same numbers always give the same draws, so intervals of different methods and metrics
    rest on the same resampled queries and can be compared pair by pair.

    Raises:
        SettingError: fewer than one resample, or a negative seed.
    """
    if resamples < 1 or seed < 0:
        raise SettingError(
            f"resamples is {resamples} and the seed {seed}; give at least 1 and at least 0."
        )
    rng = np.random.default_rng(seed)
    if not queries:
        return np.zeros((resamples, 0))
    drawn = rng.integers(queries, size=(resamples, queries))
    cells = drawn + queries * np.arange(resamples)[:, None]
    counts = np.bincount(cells.ravel(), minlength=resamples * queries)
    return counts.reshape(resamples, queries).astype(np.float64)


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
    if not len(means):
        return mean, np.nan, np.nan
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return mean, float(low), float(high)


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
    tail = (100 - LEVEL) / 2
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return mean, float(low), float(high)
