"""Random rows to hold an answer's top rows against."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.counterfactual import without_random


def random_rows(ids: Sequence[str], k: int, draws: int, seed: int = 0) -> np.ndarray:
    """Random sets of k rows, drawn by id: in whatever order the rows come, the sets are the same.

    Args:
        ids: of the training rows.
        k: rows of a set.
        draws: how many sets; set i is the same however many are drawn.
        seed: which sets.

    Returns:
        Boolean, draws × rows in the order of `ids`.
    """
    places = np.argsort(np.argsort(np.array(ids, dtype=str), kind="stable"), kind="stable")
    return np.asarray(~without_random(len(ids), k, draws, seed)[:, places])
