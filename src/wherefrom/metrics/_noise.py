"""The noise ceiling: how far the outcome of retraining can be foretold at all."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import NamedTuple

import numpy as np

from wherefrom.metrics._bootstrap import crossed_multiplicities, ends, mean_of_drawn
from wherefrom.metrics._drawn_ranks import midranks, rank_correlation
from wherefrom.metrics._retrainings import Retrainings

MOST_SPLITS = 200


class NoiseCeiling(NamedTuple):
    """How far retraining agrees with itself, and how high a score it lets anything reach.

    Attributes:
        agreement: Spearman's correlation between the means of two halves of the seeds, the mean
            over splits and queries; from -1 to 1.
        ceiling: what a predictor that knew the outcome free of noise would reach; from 0 to 1.
        low: low end of the ceiling's 95 % interval.
        high: high end of it.
    """

    agreement: float
    ceiling: float
    low: float
    high: float


def noise_ceiling(retrainings: Retrainings, resamples: int = 1000, seed: int = 0) -> NoiseCeiling:
    """The linear datamodeling score that the best predictor could reach on these retrainings.

    For each query, r is the mean over pairs of seeds of Spearman's correlation over subsets between
    the outcomes of the two. The mean over all k seeds then has the reliability k r / (1 + (k - 1) r)
    (Spearman 1910, Brown 1910), and what knows the outcome free of noise correlates with that mean
    by the reliability's square root: the ceiling, averaged over queries. r below 0 counts as 0.

    This assumes that seeds differ by noise that is independent of the other seeds and of the same
    size for every subset, and takes a formula for Pearson's correlation as one for ranks, which is
    close unless outcomes have heavy tails. It is the ceiling of any predictor, additive or not: the
    best sum of scores may stay below it. Where r is below 0.1 or so, the root and the cut at 0 make it
    wrong by some hundredths, too high where seeds agree on nothing.

    The interval draws subsets, seeds and queries with replacement, all three at once. A seed is
    never paired with its own copy; a resample that holds one seed only is left out, so with two
    seeds the interval is that over subsets and queries.

    Args:
        retrainings: what became of models trained on subsets of the rows.
        resamples: how many resamples make the interval.
        seed: which resamples are drawn, and which halves where there are more than 200.

    Returns:
        All four are NaN with one seed, of which nobody can say how much is noise, and where the
        outcome of every query is constant; the ends are NaN too where fewer than two queries have
        an outcome that varies.

    Raises:
        SettingError: resamples or seed do not fit.
    """
    outcomes = retrainings.ordered().outcomes
    sizes = (outcomes.shape[1], outcomes.shape[0], outcomes.shape[2])
    subsets, seeds, queries = crossed_multiplicities(sizes, resamples, seed)
    once = [np.ones((size, 1)) for size in sizes]
    ceilings = _ceilings(outcomes, once[0], once[1])
    if not np.isfinite(ceilings).any():
        return NoiseCeiling(np.nan, np.nan, np.nan, np.nan)
    ceiling = float(mean_of_drawn(ceilings, once[2])[0])
    agreement = float(mean_of_drawn(_agreements(outcomes, seed), once[2])[0])
    if np.isfinite(ceilings).sum() < 2:
        return NoiseCeiling(agreement, ceiling, np.nan, np.nan)
    drawn = mean_of_drawn(_ceilings(outcomes, subsets, seeds), queries)
    return NoiseCeiling(agreement, ceiling, *ends(drawn))


def _ceilings(outcomes: np.ndarray, subsets: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The ceiling of each query in each resample: queries × resamples."""
    k = len(outcomes)
    found = np.empty((outcomes.shape[2], subsets.shape[1]))
    for query in range(len(found)):
        ranks = [midranks(outcome, subsets) for outcome in outcomes[:, :, query]]
        total, weight = np.zeros(found.shape[1]), np.zeros(found.shape[1])
        for a, b in combinations(range(k), 2):
            correlation = rank_correlation(ranks[a], ranks[b], subsets)
            times = seeds[a] * seeds[b] * np.isfinite(correlation)
            total += times * np.nan_to_num(correlation)
            weight += times
        r = np.where(weight > 0, np.maximum(total, 0) / np.maximum(weight, 1), np.nan)
        found[query] = np.sqrt(k * r / (1 + (k - 1) * r))
    return found


def _agreements(outcomes: np.ndarray, seed: int) -> np.ndarray:
    """Mean over splits for each query: queries × 1."""
    seeds, subsets, queries = outcomes.shape
    once = np.ones((subsets, 1))
    found = np.full((queries, 1), np.nan)
    halves = _halves(seeds, seed)
    for query in range(queries):
        one = outcomes[:, :, query]
        correlations = [
            rank_correlation(
                midranks(one[half].mean(axis=0), once),
                midranks(one[~half].mean(axis=0), once),
                once,
            )[0]
            for half in halves
        ]
        defined = [value for value in correlations if np.isfinite(value)]
        if defined:
            found[query] = np.mean(defined)
    return found


def _halves(seeds: int, seed: int) -> list[np.ndarray]:
    """Which seeds are in the first half, boolean; all splits, or some of them if there are many."""
    size = seeds // 2
    if comb(seeds, size) <= MOST_SPLITS:
        chosen = [np.array(half, dtype=np.intp) for half in combinations(range(seeds), size)]
        if seeds % 2 == 0:
            # The other half of each split is listed too.
            chosen = chosen[: len(chosen) // 2]
    else:
        rng = np.random.default_rng(seed)
        chosen = [rng.permutation(seeds)[:size] for _ in range(MOST_SPLITS)]
    return [np.isin(np.arange(seeds), half) for half in chosen]
