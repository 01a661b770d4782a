"""Support: does taking a trace's top rows away undo the answer more than any cheap guess does?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wherefrom.errors import SettingError

_QUANTILE = 0.95


@dataclass(frozen=True)
class Support:
    """What retraining without their top rows says of traces.

    Drops are full − removed, in the unit of the outcome: positive = the rows had pushed the model
    towards the response.

    Attributes:
        drop: float64, seeds × queries: that of the top rows.
        random: float64, seeds × queries: the 95th percentile of random removals.
        lexical: float64, seeds × queries: the largest of lexical removals.
        needed: in how many seeds a drop must lie beyond both.
    """

    drop: np.ndarray
    random: np.ndarray
    lexical: np.ndarray
    needed: int

    @property
    def beyond(self) -> np.ndarray:
        """Boolean, seeds × queries: the drop lies beyond both."""
        return np.asarray((self.drop > self.random) & (self.drop > self.lexical))

    @property
    def supported(self) -> np.ndarray:
        """Boolean, one for each query: in enough seeds."""
        return np.asarray(self.beyond.sum(0) >= self.needed)


def support(
    full: np.ndarray, removed: np.ndarray, random: np.ndarray, lexical: np.ndarray
) -> Support:
    """Compares a trace's removal with those of random and of the lexically nearest rows, seed by seed.

    A trace is supported when its drop lies beyond the 95th percentile of random removals and beyond
    every lexical one, in more than half of the seeds (2 of 3).

    Args:
        full: outcomes after training on all rows, seeds × queries.
        removed: outcomes without each trace's top rows, seeds × queries.
        random: outcomes without as many random rows, draws × seeds × queries.
        lexical: outcomes without as many of the rows nearest by words, sets × seeds × queries.

    Raises:
        SettingError: shapes do not fit, or there is no draw or no lexical set.
    """
    full, removed, random, lexical = (
        np.asarray(x, float) for x in (full, removed, random, lexical)
    )
    fits = removed.shape == full.shape == random.shape[1:] == lexical.shape[1:]
    if full.ndim != 2 or not fits or not len(random) or not len(lexical):
        raise SettingError(
            f"outcomes have shapes {full.shape}, {removed.shape}, {random.shape} and {lexical.shape}; "
            "give seeds × queries twice, draws × seeds × queries and sets × seeds × queries."
        )
    return Support(
        drop=full - removed,
        random=np.quantile(full - random, _QUANTILE, axis=0),
        lexical=(full - lexical).max(0),
        needed=len(full) // 2 + 1,
    )
