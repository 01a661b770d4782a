"""Leave-out experiments: random subsets, top rows, single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wherefrom.counterfactual._subsets import random_subsets, without_random, without_top
from wherefrom.counterfactual._workshop import Workshop
from wherefrom.metrics import RemovalDrop, Retrainings, removal_drop
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Asked:
    """What every experiment of one job shares.

    Attributes:
        workshop: trains and remembers.
        seeds: of the retrained runs, that of the run itself first.
        outcome: which of `wherefrom.counterfactual.OUTCOMES`.
        query_ids: ids of the queries that the retrained models are asked, in their order.
        train_ids: ids of the training rows, in the order of training.
    """

    workshop: Workshop
    seeds: Sequence[int]
    outcome: str
    query_ids: tuple[str, ...]
    train_ids: tuple[str, ...]

    def outcomes(self, kept: np.ndarray, label: str) -> np.ndarray:
        """Outcomes after training on the rows kept: seeds × lines of `kept` × queries."""
        return self.workshop.outcomes(kept.astype(np.float64), self.seeds, self.outcome, label)

    def full(self) -> np.ndarray:
        """Outcomes after training on all rows: seeds × queries."""
        return self.outcomes(np.ones((1, len(self.train_ids)), dtype=bool), "all rows")[:, 0]

    def own(self, scores: Scores) -> Scores:
        """The scores of these queries alone, in their order."""
        places = [scores.query_ids.index(id) for id in self.query_ids]
        return Scores(
            scores.values[places], self.query_ids, scores.train_ids, scores.method, scores.settings
        )


def retrain_on_subsets(asked: Asked, subsets: int, keep: float, seed: int = 0) -> Retrainings:
    """Models retrained on random subsets of the rows, for the linear datamodeling score.

    Args:
        asked: what is asked of whom.
        subsets: how many subsets (m).
        keep: share of the rows that each keeps (α).
        seed: which subsets are drawn.
    """
    kept = random_subsets(len(asked.train_ids), subsets, keep, seed)
    outcomes = asked.outcomes(kept, "random subsets")
    return Retrainings(kept, outcomes, asked.query_ids, asked.train_ids)


def leave_top_out(
    asked: Asked, scores: Sequence[Scores], ks: Sequence[int], draws: int = 20
) -> dict[tuple[str, int], RemovalDrop]:
    """Retrains without the k rows that each method ranks first, against as many random ones.

    Args:
        asked: what is asked of whom.
        scores: of the methods; a lexical one among them is what others are to be compared with.
        ks: how many rows are removed.
        draws: random removals of each size, shared by all queries and methods.

    Returns:
        By method and k: what the removal did to each query's own outcome.
    """
    own = [asked.own(one) for one in scores]
    n = len(asked.train_ids)
    lines = [
        *(without_random(n, k, draws) for k in ks),
        *(without_top(one, k, asked.train_ids) for k in ks for one in own),
    ]
    full = asked.full()
    outcomes = asked.outcomes(np.concatenate(lines), "removals")
    queries = len(asked.query_ids)
    random = {
        k: outcomes[:, i * draws : (i + 1) * draws].transpose(1, 0, 2) for i, k in enumerate(ks)
    }
    start, each, found = len(ks) * draws, np.arange(queries), {}
    for k in ks:
        for one in own:
            # line q of a method leaves out what it ranks first for query q
            removed = outcomes[:, start + each, each]
            found[one.method, k] = removal_drop(full, removed, random[k])
            start += queries
    return found


def leave_one_out(asked: Asked) -> Scores:
    """Retrains without each row in turn.

    Returns:
        Outcome with the row minus outcome without it, averaged over seeds, as the scores of a method called
        `leave-one-out`: what all others estimate.
    """
    full = asked.full()
    outcomes = asked.outcomes(~np.eye(len(asked.train_ids), dtype=bool), "single rows")
    effect = (full[:, None] - outcomes).mean(0).T
    settings = {"seeds": list(asked.seeds), "outcome": asked.outcome}
    return Scores(
        effect, asked.query_ids, asked.train_ids, "leave-one-out", settings, f"{asked.outcome} lost"
    )


def removal_frame(found: Mapping[tuple[str, int], RemovalDrop]) -> pd.DataFrame:
    """One line for each method and k.

    Returns:
        `method`, `k`, `drop` with `low` and `high` (of its 95 % interval), `excess` over random removals
        with its interval, `p` of the mean, `beyond`: the share of queries whose drop exceeds that of 95 %
        of the random removals, `queries` and `seeds`.
    """
    import pandas as pd

    lines = []
    for (method, k), drop in found.items():
        lines.append(
            {
                "method": method,
                "k": k,
                "drop": drop.mean_drop.value,
                "low": drop.mean_drop.low,
                "high": drop.mean_drop.high,
                "excess": drop.mean_excess.value,
                "excess_low": drop.mean_excess.low,
                "excess_high": drop.mean_excess.high,
                "p": drop.mean_p_value,
                "beyond": float((drop.p_value <= 0.05).mean()),
                "queries": len(drop.drop),
                "seeds": drop.seeds,
            }
        )
    return pd.DataFrame(lines)
