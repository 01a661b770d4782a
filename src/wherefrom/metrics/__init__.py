"""How well scores find what they should find."""

# Importing a file of metrics registers them.
from wherefrom.metrics import _retrieval as _retrieval
from wherefrom.metrics import _separation as _separation
from wherefrom.metrics._bootstrap import pooled_interval
from wherefrom.metrics._concentration import Concentration, concentration
from wherefrom.metrics._evaluate import Difference, evaluate, paired_difference, per_query
from wherefrom.metrics._metric import Metric, find_metric, list_metrics, metric, metric_at
from wherefrom.metrics._truth import Truth

__all__ = [
    "Concentration",
    "Difference",
    "Metric",
    "Truth",
    "concentration",
    "evaluate",
    "find_metric",
    "list_metrics",
    "metric",
    "metric_at",
    "paired_difference",
    "per_query",
    "pooled_interval",
]
