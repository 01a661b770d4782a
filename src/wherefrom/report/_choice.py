"""Which queries and which methods a page has room for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.data import Example
from wherefrom.report._data import Key
from wherefrom.scores import Scores

# Above this mean rank correlation two methods tell the same story.
ALIKE = 0.7


def sample_queries(queries: Sequence[Example], most: int) -> tuple[int, ...]:
    """Positions of up to `most` queries: the first of each class, then the others as they come."""
    first: dict[str | None, int] = {}
    for position, query in enumerate(queries):
        first.setdefault(query.label, position)
    rest = (position for position in range(len(queries)) if position not in first.values())
    return tuple([*first.values(), *rest][:most])


def distinct_methods(
    standing: Sequence[Key], scores: dict[Key, Scores], most: int
) -> tuple[Key, ...]:
    """The leader, then the best of the methods that rank the rows otherwise than those chosen.

    Names say little about kinship, so the rankings are compared: a method is taken if its mean rank
    correlation with each one already chosen stays below `ALIKE`. Where too few differ so much, the
    best of the others fill the places, other methods before other recipes of the same one.

    Args:
        standing: recipes and methods, best first.
        scores: their scores, of the queries that will be shown.
        most: how many to choose.
    """
    chosen: list[Key] = []
    ranks = {key: _centred_ranks(scores[key].values) for key in standing}
    for key in standing:
        known = [method for _, method in chosen]
        if len(chosen) < most and key[1] not in known:
            closest = max((_agreement(ranks[key], ranks[other]) for other in chosen), default=0.0)
            if closest < ALIKE:
                chosen.append(key)
    others = [key for key in standing if key not in chosen]
    known = [method for _, method in chosen]
    others.sort(key=lambda key: key[1] in known)
    chosen += others[: most - len(chosen)]
    return tuple(sorted(chosen, key=list(standing).index))


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    ranks = values.argsort(axis=1, kind="stable").argsort(axis=1).astype(np.float64)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))


def _agreement(one: np.ndarray, other: np.ndarray) -> float:
    largest = float((one * one).sum())
    return float((one * other).sum()) / largest if largest else 1.0
