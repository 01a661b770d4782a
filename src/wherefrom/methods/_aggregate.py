"""Aggregation over layers by rank and by vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.scores import ranking

_TOP = 0.1
_SAME = 1e-5
"""Neighbours in rank that differ by less, as a share of the largest score, differ by rounding alone."""


def by_rank(layers: Sequence[np.ndarray], train_ids: tuple[str, ...]) -> np.ndarray:
    """Mean over layers of each row's rank, 1 for the first and 0 for the last; queries × rows."""
    places = [_places(values, train_ids) for values in layers]
    last = max(1, len(train_ids) - 1)
    return np.asarray(1 - np.mean(places, axis=0) / last)


def by_vote(layers: Sequence[np.ndarray], train_ids: tuple[str, ...]) -> np.ndarray:
    """Share of the layers that have a row in their top tenth; rank breaks what votes leave equal."""
    top = max(1, round(_TOP * len(train_ids)))
    votes = np.mean([_places(values, train_ids) < top for values in layers], axis=0)
    return np.asarray(votes + by_rank(layers, train_ids) / (2 * len(layers)))


def _places(values: np.ndarray, train_ids: tuple[str, ...]) -> np.ndarray:
    """Where each row stands, from 0; rows that score alike share the mean of their places."""
    order = ranking(values, train_ids)
    ranked = np.take_along_axis(values, order, axis=1)
    limit = _SAME * np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    groups = np.cumsum(-np.diff(ranked, axis=1, prepend=ranked[:, :1]) > limit, axis=1)
    places = np.empty(values.shape)
    for query in range(len(values)):
        counts = np.bincount(groups[query])
        means = np.cumsum(counts) - (counts + 1) / 2
        places[query, order[query]] = means[groups[query]]
    return places
