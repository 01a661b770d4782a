"""How well scores find what they should find, and foretell what retraining does."""

# Importing a file of metrics registers them, in the order in which tables list them.
from wherefrom.metrics import _retrieval as _retrieval
from wherefrom.metrics import _separation as _separation

# isort: split
from wherefrom.metrics import _filtering as _filtering
from wherefrom.metrics._agreement import (
    agreement,
    rank_agreement,
    rank_biased_overlap,
    top_overlap,
)
from wherefrom.metrics._bootstrap import Estimate, pooled_interval
from wherefrom.metrics._concentration import Concentration, cardinality, concentration
from wherefrom.metrics._datamodel import ridge_datamodel
from wherefrom.metrics._evaluate import Difference, evaluate, paired_difference, per_query
from wherefrom.metrics._lds import lds, lds_frame, paired_lds
from wherefrom.metrics._metric import Metric, find_metric, list_metrics, metric, metric_at
from wherefrom.metrics._mislabel import MislabelDetection, mislabel_detection
from wherefrom.metrics._noise import NoiseCeiling, noise_ceiling
from wherefrom.metrics._removal import RemovalDrop, removal_drop
from wherefrom.metrics._retrainings import Retrainings
from wherefrom.metrics._support import Support, support
from wherefrom.metrics._truth import Truth

__all__ = [
    "Concentration",
    "Difference",
    "Estimate",
    "Metric",
    "MislabelDetection",
    "NoiseCeiling",
    "RemovalDrop",
    "Retrainings",
    "Support",
    "Truth",
    "agreement",
    "cardinality",
    "concentration",
    "evaluate",
    "find_metric",
    "lds",
    "lds_frame",
    "list_metrics",
    "metric",
    "metric_at",
    "mislabel_detection",
    "noise_ceiling",
    "paired_difference",
    "paired_lds",
    "per_query",
    "pooled_interval",
    "rank_agreement",
    "rank_biased_overlap",
    "removal_drop",
    "ridge_datamodel",
    "support",
    "top_overlap",
]
