"""Brittleness: how few rows must go before the model no longer says it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wherefrom.counterfactual._leave_out import Asked
from wherefrom.counterfactual._subsets import without_top
from wherefrom.errors import SettingError
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

HALF = 0.5
"""A binary outcome holds where more than half of the seeds show it."""


@dataclass
class _Search:
    """The hunt for the smallest removal that flips one query by one method's ranking.

    Attributes:
        method: number of the method.
        query: number of the query.
        holds: most rows known to be too few; 0 = none removed.
        flips: fewest rows known to be enough; None until some are.
    """

    method: int
    query: int
    holds: int = 0
    flips: int | None = None

    def next(self, most: int) -> int | None:
        """How many rows to remove next; None where the hunt is over."""
        if self.flips is None:
            return min(most, max(1, 2 * self.holds)) if self.holds < most else None
        middle = (self.holds + self.flips) // 2
        return middle if self.holds < middle < self.flips else None


def brittleness(asked: Asked, scores: Sequence[Scores], most: int) -> pd.DataFrame:
    """The fewest top rows whose removal flips each query's behaviour.

    Doubles the number of rows until the behaviour is gone, then halves the gap. That finds the smallest
    number where removing more rows never brings the behaviour back, and an upper bound of it elsewhere.

    Args:
        asked: what is asked of whom; its outcome is 0 or 1: `greedy` or a behaviour.
        scores: of the methods.
        most: most rows to remove.

    Returns:
        One line for each method and query that shows the behaviour after training on all rows: `method`,
        `query`, `k` (NaN where not even `most` rows were enough) and `most`.

    Raises:
        SettingError: no query shows the behaviour to begin with, or the outcome is not 0 or 1.
    """
    import pandas as pd

    full = asked.full()
    if not np.isin(full, (0.0, 1.0)).all():
        raise SettingError(
            f"brittleness needs an outcome that is 0 or 1, not {asked.outcome}; use greedy or behaviour."
        )
    holding = np.flatnonzero(full.mean(0) > HALF)
    if not len(holding):
        raise SettingError(
            "after training on all rows no query shows the behaviour, so nothing can flip. Train "
            "longer, or ask for another outcome."
        )
    own = [asked.own(one) for one in scores]
    hunts = [_Search(m, int(q)) for m in range(len(own)) for q in holding]
    while active := [(hunt, k) for hunt in hunts if (k := hunt.next(most)) is not None]:
        kept = np.stack(
            [without_top(own[h.method], k, asked.train_ids)[h.query] for h, k in active]
        )
        outcomes = asked.outcomes(kept, "brittleness").mean(0)
        for (hunt, k), values in zip(active, outcomes, strict=True):
            if values[hunt.query] > HALF:
                hunt.holds = k
            else:
                hunt.flips = k
    return pd.DataFrame(
        [
            {
                "method": own[hunt.method].method,
                "query": asked.query_ids[hunt.query],
                "k": np.nan if hunt.flips is None else float(hunt.flips),
                "most": most,
            }
            for hunt in hunts
        ]
    )


def brittleness_summary(frame: pd.DataFrame) -> pd.DataFrame:
    """One line for each method.

    Returns:
        `method`, `median`: the number of rows that flips half of the queries (NaN where fewer flip),
        `flipped`: share of the queries that flip at all, `queries`.
    """
    import pandas as pd

    lines = []
    for method, part in frame.groupby("method", sort=False):
        ks = part["k"].to_numpy()
        median = float(np.median(np.where(np.isnan(ks), np.inf, ks)))
        lines.append(
            {
                "method": method,
                "median": median if np.isfinite(median) else np.nan,
                "flipped": float(np.mean(~np.isnan(ks))),
                "queries": len(part),
            }
        )
    return pd.DataFrame(lines)
