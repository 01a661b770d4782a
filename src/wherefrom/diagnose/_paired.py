"""Is something larger, row by row, than what it is held against?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import wilcoxon

SIGNIFICANT = 0.05
FEWEST = 6
"""Pairs below which even all of them in favour are hardly more than chance (2⁻⁵ = 0.03)."""


@dataclass(frozen=True)
class Paired:
    """Differences of paired measurements.

    Attributes:
        mean: their mean.
        median: their median.
        p_value: of the one-sided Wilcoxon signed-rank test that they are above 0.
        pairs: how many there are.
    """

    mean: float
    median: float
    p_value: float
    pairs: int

    @classmethod
    def of(cls, differences: np.ndarray) -> Paired:
        """Of differences, one for each pair; those that are NaN or Inf are left out."""
        kept = differences[np.isfinite(differences)].astype(np.float64)
        if not len(kept):
            return cls(np.nan, np.nan, 1.0, 0)
        # 1e-6 nats are rounding: a pass in other batches moves a log-probability by as much
        kept = np.where(np.abs(kept) < 1e-6, 0.0, kept)
        p = 1.0
        if kept.any():
            p = float(wilcoxon(kept, alternative="greater").pvalue)
        return cls(float(kept.mean()), float(np.median(kept)), p, len(kept))

    @property
    def above(self) -> bool:
        """Whether they are above 0 beyond chance."""
        return self.mean > 0 and self.p_value < SIGNIFICANT
