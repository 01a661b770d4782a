"""How far methods rank the training rows alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from scipy.stats import rankdata

from wherefrom.errors import SettingError
from wherefrom.metrics._places import places
from wherefrom.scores import Scores, ranking

if TYPE_CHECKING:
    import pandas as pd

Measure = Literal["spearman", "top", "rbo"]

PERSISTENCE = 0.9
_FIX = "Compare methods on the same queries and training rows."


class _Comparison(NamedTuple):
    """What is made of each method once, and of each pair: one value for each query."""

    prepare: Callable[[Scores], np.ndarray]
    compare: Callable[[np.ndarray, np.ndarray], np.ndarray]


def rank_agreement(scores_a: Scores, scores_b: Scores) -> np.ndarray:
    """Spearman's correlation between two methods' scores of the training rows.

    Ties have average ranks.

    Args:
        scores_a: of one method.
        scores_b: of another, for the same queries and rows in any order.

    Returns:
        float64, from -1 to 1 for each query, in the order of the first method's queries; NaN where
        either method gives all rows the same score.

    Raises:
        IdentityError: the two are of different queries or rows.
    """
    return _of_pair(_SPEARMAN, scores_a, scores_b)


def top_overlap(scores_a: Scores, scores_b: Scores, k: int = 10) -> np.ndarray:
    """Share of the top k training rows that two methods have in common.

    Ties are broken as `wherefrom.scores.ranking` does, alike for both: where both methods tie most
    rows, they share rows that neither chose. Rows in random order share k / rows.

    Args:
        scores_a: of one method.
        scores_b: of another, for the same queries and rows in any order.
        k: how many rows of each query are looked at.

    Returns:
        float64, from 0 to 1 for each query, in the order of the first method's queries.

    Raises:
        IdentityError: the two are of different queries or rows.
        SettingError: k is below 1 or above the number of training rows.
    """
    return _of_pair(_top(k), scores_a, scores_b)


def rank_biased_overlap(scores_a: Scores, scores_b: Scores, p: float = PERSISTENCE) -> np.ndarray:
    """Overlap of two methods' rankings at every depth, early depths counting most.

    The extrapolated form: p^n A_n + (1 - p)/p Σ p^d A_d over depths d = 1 … n, where A_d is the
    share of the first d rows in common. With p = 0.9, the first ten places decide 86 % of it. Ties
    are broken as for `top_overlap`. Source: Webber, Moffat and Zobel 2010, A similarity measure for
    indefinite rankings (ACM TOIS 28:4), for two lists of one length.

    Args:
        scores_a: of one method.
        scores_b: of another, for the same queries and rows in any order.
        p: how likely a reader goes on to the next row; between 0 and 1.

    Returns:
        float64, above 0 and up to 1 for each query, in the order of the first method's queries; 1
        only for equal rankings.

    Raises:
        IdentityError: the two are of different queries or rows.
        SettingError: p is not between 0 and 1.
    """
    return _of_pair(_rbo(p), scores_a, scores_b)


def agreement(
    scores: Sequence[Scores], measure: Measure = "spearman", k: int = 10, p: float = PERSISTENCE
) -> pd.DataFrame:
    """How far methods rank alike, pair by pair: means over the queries.

    Args:
        scores: of several methods, for the same queries and rows in any order.
        measure: `spearman` (`rank_agreement`), `top` (`top_overlap`) or `rbo`
            (`rank_biased_overlap`).
        k: how many rows `top` looks at.
        p: persistence of `rbo`.

    Returns:
        A symmetric frame, methods × methods. Queries that the measure leaves undefined are left
        out; NaN where it is so for all of them.

    Raises:
        IdentityError: methods are of different queries or rows.
        SettingError: no such measure, two methods of one name, or k or p do not fit.
    """
    import pandas as pd

    made = {"spearman": lambda: _SPEARMAN, "top": lambda: _top(k), "rbo": lambda: _rbo(p)}
    if measure not in made:
        raise SettingError(f"no measure is called {measure!r}. Measures: {', '.join(made)}.")
    names = [one.method for one in scores]
    twice = [name for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise SettingError(f"two methods are called {twice[0]!r}; give one of them another name.")
    comparison = made[measure]()
    prepared = [comparison.prepare(_aligned(one, scores[0])) for one in scores]
    values = np.full((len(names), len(names)), np.nan)
    for a, first in enumerate(prepared):
        for b in range(a, len(prepared)):
            found = comparison.compare(first, prepared[b])
            defined = found[np.isfinite(found)]
            if len(defined):
                values[a, b] = values[b, a] = defined.mean()
    return pd.DataFrame(values, index=names, columns=names)


def _of_pair(comparison: _Comparison, scores_a: Scores, scores_b: Scores) -> np.ndarray:
    other = _aligned(scores_b, scores_a)
    return comparison.compare(comparison.prepare(scores_a), comparison.prepare(other))


def _aligned(scores: Scores, like: Scores) -> Scores:
    """The same scores in the order of others' queries and rows."""
    order = []
    for what, ours, theirs in (
        ("query", scores.query_ids, like.query_ids),
        ("training row", scores.train_ids, like.train_ids),
    ):
        places(ours, theirs, what, scores.method, like.method, _FIX)
        order.append(places(theirs, ours, what, like.method, scores.method, _FIX))
    return Scores(scores.values[np.ix_(*order)], like.query_ids, like.train_ids, scores.method)


def _unit_ranks(scores: Scores) -> np.ndarray:
    """Centred average ranks of unit norm; NaN where all scores of a query are equal."""
    ranks = rankdata(scores.values, axis=1) - (scores.values.shape[1] + 1) / 2
    norm = np.sqrt((ranks**2).sum(axis=1, keepdims=True))
    return np.asarray(np.where(norm > 0, ranks, np.nan) / np.where(norm > 0, norm, 1.0))


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Unit vectors' product may pass 1 by rounding.
    return np.asarray(np.clip((first * second).sum(axis=1), -1.0, 1.0))


_SPEARMAN = _Comparison(_unit_ranks, _product)


def _top(k: int) -> _Comparison:
    def members(scores: Scores) -> np.ndarray:
        rows = scores.values.shape[1]
        if not 1 <= k <= rows:
            raise SettingError(f"k is {k} for {rows} training rows; give a k from 1 to {rows}.")
        return _positions(scores) <= k

    def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray((first & second).sum(axis=1) / k)

    return _Comparison(members, shared)


def _rbo(p: float) -> _Comparison:
    if not 0 < p < 1:
        raise SettingError(f"p is {p}; give a number between 0 and 1.")

    def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        queries, rows = first.shape
        # A row is in common from the depth at which the later of the two rankings has it.
        met = np.maximum(first, second) - 1 + rows * np.arange(queries)[:, None]
        new = np.bincount(met.ravel(), minlength=queries * rows).reshape(queries, rows)
        common, depth = new.cumsum(axis=1), np.arange(1, rows + 1)
        weight = (1 - p) * p ** (depth - 1.0)
        # All rows are ranked by both, so the share at the last depth is 1 and goes on as 1.
        return np.asarray((weight * common / depth).sum(axis=1) + p**rows)

    return _Comparison(_positions, overlap)


def _positions(scores: Scores) -> np.ndarray:
    """The place of each training row in the ranking, from 1: int64, queries × training rows."""
    return np.argsort(ranking(scores.values, scores.train_ids), axis=1) + 1
