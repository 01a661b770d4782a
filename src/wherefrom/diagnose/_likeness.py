"""How far two rankings of the same rows are alike, in the numbers that checks speak of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wherefrom.metrics import rank_agreement, rank_biased_overlap, top_overlap
from wherefrom.scores import Scores


@dataclass(frozen=True)
class Likeness:
    """Means over queries; NaN where undefined for all.

    Attributes:
        spearman: rank correlation.
        overlap: share of the top k rows in common.
        rbo: rank-biased overlap.
        kept: overlap beyond chance, (overlap − k/n) / (1 − k/n): 0 for unrelated rankings, 1 for the same
            top; NaN where k = n.
    """

    spearman: float
    overlap: float
    rbo: float
    kept: float

    @classmethod
    def of(cls, first: Scores, second: Scores, k: int) -> Likeness:
        """Of two methods' or models' scores of the same queries and rows."""
        k = min(k, len(first.train_ids))
        chance = k / len(first.train_ids)
        overlap = float(top_overlap(first, second, k).mean())
        return cls(
            mean_of(rank_agreement(first, second)),
            overlap,
            float(rank_biased_overlap(first, second).mean()),
            (overlap - chance) / (1 - chance) if chance < 1 else float("nan"),
        )


def mean_of(values: np.ndarray) -> float:
    """Mean of the finite values; NaN where there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def plain(value: float | None, digits: int = 4) -> float | None:
    """A number as `values` of a finding has it: rounded, None where it is undefined."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.{digits}g}")
