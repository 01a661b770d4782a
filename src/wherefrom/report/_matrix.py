"""Score matrices made comparable and small enough to draw."""

from __future__ import annotations

import numpy as np


def normalised(values: np.ndarray) -> np.ndarray:
    """Each query's scores less their mean, in standard deviations; 0 where all are alike."""
    values = values.astype(np.float64)
    # Scores near the end of float32 would overflow when squared.
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0.0)
    values /= np.where(largest > 0, largest, 1.0)
    values -= values.mean(axis=1, keepdims=True)
    spread = values.std(axis=1, keepdims=True)
    return np.asarray(np.where(spread > 1e-12, values / np.maximum(spread, 1e-12), 0.0))


def block_mean(values: np.ndarray, most_rows: int, most_columns: int) -> np.ndarray:
    """The matrix itself if small enough, else the means of blocks as equal as they can be."""
    for axis, most in ((0, most_rows), (1, most_columns)):
        size = values.shape[axis]
        if size > most:
            edges = np.linspace(0, size, most + 1).astype(np.int64)
            sums = np.add.reduceat(values, edges[:-1], axis=axis)
            lengths = np.diff(edges)
            values = sums / (lengths[:, None] if axis == 0 else lengths)
    return values
