"""What the columns of a leaderboard are called, and what they mean."""

from __future__ import annotations

_LABELS = {
    "auroc": "AUROC",
    "mrr": "MRR",
    "coverage_paper": "coverage (paper)",
    "filtering_auprc": "filtering AUPRC",
}

_MEANINGS = {
    "accuracy": "share of queries whose top-ranked training row has the query's class.",
    "coverage": "share of the first c rows that have the query's class, c being the number of "
    "training rows of that class.",
    "coverage_paper": "coverage with c = training rows ÷ classes, as the founding paper's code "
    "counts it, whatever the size of the class.",
    "average_precision": "average of the precision at every row of the query's class, down the "
    "whole ranking.",
    "auroc": "probability that a row of the query's class ranks above a row of another class; "
    "50 % is a coin toss.",
    "mrr": "average of one divided by the rank of the first row of the query's class.",
    "filtering_auprc": "average precision of one ranking of the training rows for each class, by the "
    "mean score over all queries of the class.",
}


def label(metric: str) -> str:
    """A metric's name as a reader sees it.

    Example:
        >>> label("average_precision"), label("auroc")
        ('average precision', 'AUROC')
    """
    return _LABELS.get(metric, metric.replace("_", " "))


def meaning(metric: str) -> str:
    """What a metric measures; empty for one that is not known here.

    Example:
        >>> meaning("recall@10")
        "share of the training rows of the query's class that are among the first 10."
    """
    name, _, depth = metric.partition("@")
    if name == "recall" and depth.isdigit():
        return f"share of the training rows of the query's class that are among the first {depth}."
    return _MEANINGS.get(metric, "")
