"""Aggregation over layers by rank and by vote."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.scores import ranking

_TOP = 0.1


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
    places = np.empty(values.shape)
    np.put_along_axis(places, order, np.arange(values.shape[1], dtype=float)[None, :], axis=1)
    for query, row in enumerate(values):
        _, group, counts = np.unique(row, return_inverse=True, return_counts=True)
        if len(counts) < len(row):
            sums = np.bincount(group, weights=places[query])
            places[query] = (sums / counts)[group]
    return places
