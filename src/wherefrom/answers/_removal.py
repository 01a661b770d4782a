"""What a score says would happen without the row, where its unit says so."""

from __future__ import annotations

import numpy as np

from wherefrom.methods import REMOVAL
from wherefrom.scores import Scores


def removal(scores: Scores) -> np.ndarray | None:
    """Predicted change of each query's log-probability if a row had not been trained on.

    First order: −score/n (Koh & Liang 2017). In nats, of what the recipe calls a row's loss: a token's
    mean or the response's sum. Removing several rows adds up.

    Returns:
        float64, queries × training rows; negative = the response gets less likely without the row. None
        where the method defines no such number.
    """
    if scores.unit != REMOVAL:
        return None
    return -scores.values.astype(np.float64) / max(1, len(scores.train_ids))
