"""Scores of different queries on one scale."""

from __future__ import annotations

import numpy as np


def in_spreads(values: np.ndarray) -> np.ndarray:
    """Each query's scores in units of their own root mean square: float64; 0 where all are 0.

    Args:
        values: queries × training rows.
    """
    found = values.astype(np.float64)
    size = np.sqrt((found**2).mean(1, keepdims=True))
    return np.asarray(np.divide(found, size, out=np.zeros_like(found), where=size > 0))
