"""The linear datamodeling score: do scores foretell what retraining on subsets does?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from wherefrom.metrics._bootstrap import Estimate, crossed_multiplicities, ends, mean_of_drawn
from wherefrom.metrics._drawn_ranks import midranks, rank_correlation
from wherefrom.metrics._evaluate import Difference
from wherefrom.metrics._retrainings import Retrainings
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("method", "value", "low", "high", "queries", "undefined", "subsets", "seeds")


def lds(scores: Scores, retrainings: Retrainings) -> np.ndarray:
    """The linear datamodeling score of each query.

    Spearman's correlation over subsets, with average ranks for ties, between the sum of the scores
    of the rows a subset keeps and the query's outcome averaged over seeds. Source: Park et al.,
    arXiv 2303.14186, section 4; datamodels: Ilyas et al., arXiv 2202.00622.

    Args:
        scores: of every training row of the retrainings and of all their queries, in any order;
            further queries are left aside.
        retrainings: what became of models trained on subsets of these rows.

    Returns:
        float64, from -1 to 1 for each query, in the order of the retrainings; 1 = subsets are
        ordered rightly. 0 where the scores say the same of every subset, NaN where the outcome is
        the same for every subset and nothing can be foretold.

    Raises:
        IdentityError: the scores lack a query or training row, or have a row too many.
    """
    ordered = retrainings.ordered()
    found = _of_all([scores], ordered)[0]
    place = {id: index for index, id in enumerate(ordered.query_ids)}
    return np.asarray(found[[place[id] for id in retrainings.query_ids]])


def lds_frame(
    scores: Scores | Iterable[Scores],
    retrainings: Retrainings,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """The linear datamodeling score of methods: means over the queries, with 95 % intervals.

    Every resample draws subsets, seeds and queries with replacement, all three at once and alike for
    every method. The ends are percentiles of the mean over queries, moved so that the resamples'
    mean is the value: a resample holds fewer distinct seeds than the retrainings do, so its outcome
    is noisier, and unmoved percentiles can miss the value itself. Drawing crossed factors at once errs
    on the wide side (Owen 2007, The pigeonhole bootstrap). The interval is for the score against the
    mean of as many seeds as there are. With one seed it says nothing about seeds, and with fewer
    than two queries there is none.

    Args:
        scores: of one method, or of several.
        retrainings: what became of models trained on subsets of the rows.
        resamples: how many resamples make the interval.
        seed: which resamples are drawn.

    Returns:
        A frame with one line for each method, in the order given: `method`, `value`, `low`, `high`,
        `queries` (all of them), `undefined` (how many of these have a constant outcome and are left
        out of the value), `subsets` and `seeds`.

    Raises:
        IdentityError: scores lack a query or training row, or have a row too many.
        SettingError: resamples or seed do not fit.
    """
    import pandas as pd

    methods = [scores] if isinstance(scores, Scores) else list(scores)
    ordered = retrainings.ordered()
    n_seeds, n_subsets, n_queries = ordered.outcomes.shape
    points = _of_all(methods, ordered)
    drawn, queries = _resampled(methods, ordered, resamples, seed)
    lines = [
        (
            one.method,
            *_estimate(point, values, queries, limit=1.0),
            n_queries,
            int(np.isnan(point).sum()),
            n_subsets,
            n_seeds,
        )
        for one, point, values in zip(methods, points, drawn, strict=True)
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def paired_lds(
    scores_a: Scores,
    scores_b: Scores,
    retrainings: Retrainings,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """How much higher the first method's linear datamodeling score is than the second's.

    Both are judged on the same resamples of subsets, seeds and queries, so what the two share does
    not widen the interval.

    Args:
        scores_a: of the first method.
        scores_b: of the second.
        retrainings: what became of models trained on subsets of the rows.
        resamples: how many resamples make the interval.
        seed: which resamples are drawn.

    Returns:
        Mean over queries of first minus second, with its 95 % interval.

    Raises:
        IdentityError: scores lack a query or training row, or have a row too many.
        SettingError: resamples or seed do not fit.
    """
    ordered = retrainings.ordered()
    first, second = _of_all([scores_a, scores_b], ordered)
    drawn, queries = _resampled([scores_a, scores_b], ordered, resamples, seed)
    return Difference(*_estimate(first - second, drawn[0] - drawn[1], queries, limit=2.0))


def _of_all(methods: Sequence[Scores], ordered: Retrainings) -> np.ndarray:
    """Without resampling: methods × queries."""
    seeds, subsets, _ = ordered.outcomes.shape
    return _correlations(methods, ordered, np.ones((subsets, 1)), np.ones((seeds, 1)))[:, :, 0]


def _resampled(
    methods: Sequence[Scores], ordered: Retrainings, resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Methods × queries × resamples, and how often each query was drawn: queries × resamples."""
    n_seeds, n_subsets, n_queries = ordered.outcomes.shape
    subsets, seeds, queries = crossed_multiplicities(
        (n_subsets, n_seeds, n_queries), resamples, seed
    )
    return _correlations(methods, ordered, subsets, seeds), queries


def _correlations(
    methods: Sequence[Scores], ordered: Retrainings, subsets: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
    predicted = [ordered.predicted(one) for one in methods]
    found = np.empty((len(methods), len(ordered.query_ids), subsets.shape[1]))
    alike, which = np.unique(seeds, axis=1, return_inverse=True)
    for query in range(found.shape[1]):
        outcomes = ordered.outcomes[:, :, query]
        truth = np.empty_like(subsets)
        # Resamples that drew the same seeds have one outcome, and are ranked together.
        for index, times in enumerate(alike.T):
            chosen = which.ravel() == index
            mean = (times[:, None] * outcomes).sum(axis=0) / times.sum()
            truth[:, chosen] = midranks(mean, subsets[:, chosen])
        constant = np.isnan(rank_correlation(truth, truth, subsets))
        for method, values in enumerate(predicted):
            ranks = midranks(values[:, query], subsets)
            correlation = np.nan_to_num(rank_correlation(ranks, truth, subsets))
            found[method, query] = np.where(constant, np.nan, correlation)
    return found


def _estimate(point: np.ndarray, drawn: np.ndarray, queries: np.ndarray, limit: float) -> Estimate:
    defined = point[np.isfinite(point)]
    if not len(defined):
        return Estimate(np.nan, np.nan, np.nan)
    value = float(defined.mean())
    if len(defined) < 2:
        return Estimate(value, np.nan, np.nan)
    means = mean_of_drawn(drawn, queries)
    # A resample holds fewer distinct seeds: a noisier outcome, which any method foretells worse.
    lean = means[np.isfinite(means)].mean() - value if np.isfinite(means).any() else 0.0
    return Estimate(value, *np.clip(ends(means - lean), -limit, limit).tolist())
