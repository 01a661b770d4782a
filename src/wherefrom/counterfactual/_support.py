"""Support by retraining: the label that a trace's verdict is judged by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.counterfactual._leave_out import Asked
from wherefrom.counterfactual._subsets import without_random, without_top
from wherefrom.metrics import Support, support
from wherefrom.scores import Scores


def support_by_retraining(
    asked: Asked, scores: Sequence[Scores], lexical: Sequence[Scores], k: int, draws: int = 20
) -> dict[str, Support]:
    """Retrains without the k rows that each method ranks first, against random and lexical removals.

    Sets that several traces share are left out once.

    Args:
        asked: what is asked of whom; its seeds are those that the label counts.
        scores: of the methods whose traces are labelled.
        lexical: of methods that see nothing but words.
        k: how many rows are removed.
        draws: random removals, shared by all queries and methods.

    Returns:
        By method, for the queries of `asked`.
    """
    n, queries = len(asked.train_ids), len(asked.query_ids)
    own = [asked.own(one) for one in (*lexical, *scores)]
    lines = [without_random(n, k, draws), *(without_top(one, k, asked.train_ids) for one in own)]
    full = asked.full()
    outcomes = asked.outcomes(np.concatenate(lines), "removals")
    random, rest = outcomes[:, :draws].transpose(1, 0, 2), outcomes[:, draws:]
    each = np.arange(queries)
    # line q of a method leaves out what it ranks first for query q
    removed = [rest[:, i * queries + each, each] for i in range(len(own))]
    words = np.stack(removed[: len(lexical)])
    return {
        one.method: support(full, found, random, words)
        for one, found in zip(scores, removed[len(lexical) :], strict=True)
    }
