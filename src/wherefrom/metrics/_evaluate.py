"""Metrics averaged over the queries, with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from wherefrom.errors import IdentityError, SettingError
from wherefrom.metrics._bootstrap import interval, multiplicities
from wherefrom.metrics._metric import find_metric, list_metrics
from wherefrom.metrics._truth import Truth
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("method", "metric", "value", "low", "high", "queries", "undefined")


class Difference(NamedTuple):
    """How much better one method is than another on the same queries.

    Attributes:
        difference: mean over the queries of first minus second; above 0 = the first is better.
        low: low end of the 95 % interval; above 0 = better beyond the chance of which queries.
        high: high end of it.
    """

    difference: float
    low: float
    high: float


def per_query(scores: Scores, truth: Truth, metric: str) -> np.ndarray:
    """One metric, one value for each query.

    Returns:
        float64, in the order of the scores' queries; NaN where the metric is undefined.

    Raises:
        SettingError: no metric has that name, or it gave something else than a value a query.
        IdentityError: scores and truth are of different rows.
    """
    values = find_metric(metric)(scores, truth.for_scores(scores), truth)
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (len(scores.query_ids),):
        raise SettingError(
            f"metric {metric} gave shape {values.shape} for {len(scores.query_ids)} queries. "
            "A metric gives one value for each query."
        )
    return values


def _by_id(values: np.ndarray, query_ids: Sequence[str]) -> np.ndarray:
    # Resamples are drawn by place; sorted, they do not depend on the order of the queries.
    return values[sorted(range(len(query_ids)), key=query_ids.__getitem__)]


def evaluate(
    scores: Scores | Iterable[Scores],
    truth: Truth,
    metrics: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Judges methods: the mean of each metric over the queries, with a 95 % interval.

    The interval is the percentile bootstrap over queries. With the same seed, methods that answered
    the same queries are resampled alike. It covers the choice of queries, not that of the training
    run, and has no width where all queries agree.

    Args:
        scores: of one method, or of several.
        truth: which rows should be found.
        metrics: names of metrics; all of `list_metrics` when None.
        resamples: how many resamples make the interval.
        seed: which resamples are drawn.

    Returns:
        A frame with one line for each method and metric: `method`, `metric`, `value`, `low`,
        `high`, `queries` (all of them) and `undefined` (how many of these the metric could not
        judge, which the value leaves out).

    Raises:
        SettingError: no metric has such a name, or resamples or seed do not fit.
        IdentityError: scores and truth are of different rows.
    """
    import pandas as pd

    lines = []
    for one in [scores] if isinstance(scores, Scores) else scores:
        weights = multiplicities(len(one.query_ids), resamples, seed)
        for name in list_metrics() if metrics is None else metrics:
            values = _by_id(per_query(one, truth, name), one.query_ids)
            undefined = int((~np.isfinite(values)).sum())
            lines.append(
                (one.method, name, *interval(values, weights), len(values), undefined),
            )
    return pd.DataFrame(lines, columns=list(COLUMNS))


def paired_difference(
    scores_a: Scores,
    scores_b: Scores,
    truth: Truth,
    metric: str,
    resamples: int = 1000,
    seed: int = 0,
) -> Difference:
    """How much better the first method is than the second, on the same queries.

    Queries that either cannot be judged on are left out.

    Args:
        scores_a: of the first method.
        scores_b: of the second, for the same queries in any order.
        truth: which rows should be found.
        metric: name of the metric.
        resamples: how many resamples make the interval.
        seed: which resamples are drawn.

    Raises:
        SettingError: no metric has that name, or resamples or seed do not fit.
        IdentityError: the two are of different queries, or scores and truth of different rows.
    """
    only = sorted(set(scores_a.query_ids) ^ set(scores_b.query_ids))
    if only:
        raise IdentityError(
            f"{scores_a.method} has {len(scores_a.query_ids)} queries and {scores_b.method} has "
            f"{len(scores_b.query_ids)}; {only[0]!r} is in one of them only. Compare methods "
            "on the same queries."
        )
    first = _by_id(per_query(scores_a, truth, metric), scores_a.query_ids)
    second = _by_id(per_query(scores_b, truth, metric), scores_b.query_ids)
    return Difference(*interval(first - second, multiplicities(len(first), resamples, seed)))
