"""Filtering: would one list, made of all queries of a class, find that class's training rows?"""

from __future__ import annotations

import numpy as np

from wherefrom.metrics._drawn_ranks import precision_area
from wherefrom.metrics._metric import metric
from wherefrom.metrics._truth import Truth
from wherefrom.scores import Scores


@metric("filtering_auprc")
def filtering_auprc(scores: Scores, relevance: np.ndarray, truth: Truth) -> np.ndarray:
    """Average precision of one ranking by the mean score over all queries of the class.

    Queries are of one class where the same rows are relevant to them. Their scores are averaged as
    they are, as published: no query is normalised, so one with large scores rules the mean. Rows of
    one mean score enter the curve together. The area is the average precision; DATE-LM's released
    code joins the curve's points by straight lines, which is a little more optimistic. Source: the
    filtering task of DATE-LM, arXiv 2507.09424.

    All queries of a class get that one number. The mean over queries is that over classes, weighted
    by their queries, and its interval in `evaluate` resamples these weights alone: it says nothing
    of which queries made the mean score, and has no width where there is one class.

    Returns:
        Above 0, up to 1 for each query; random scores give about the share of relevant rows. NaN
        where no row is relevant.
    """
    found = np.full(len(relevance), np.nan)
    if not relevance.size:
        return found
    kinds, which = np.unique(relevance, axis=0, return_inverse=True)
    once = np.ones((relevance.shape[1], 1))
    for index, relevant in enumerate(kinds):
        chosen = which.ravel() == index
        # Added up by size, so that the order of the queries does not show in the last digit.
        values = np.sort(scores.values[chosen].astype(np.float64), axis=0)
        mean = values.sum(axis=0) / len(values)
        found[chosen] = precision_area(mean, relevant, once)[0]
    return found
