"""Class match: the founding paper's only judge."""

from __future__ import annotations

from wherefrom.metrics import Truth, per_query
from wherefrom.scores import Scores

METRICS = {"ap": "average_precision", "accuracy": "accuracy", "coverage": "coverage"}


def matched(scores: Scores, truth: Truth) -> dict[str, list[float]]:
    """By metric, one number for each query."""
    return {
        name: [float(value) for value in per_query(scores, truth, metric)]
        for name, metric in METRICS.items()
    }
