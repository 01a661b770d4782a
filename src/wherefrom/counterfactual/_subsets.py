"""Which rows are kept: random subsets, and removals of rows that scores rank first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.scores import Scores, ranking


def random_subsets(rows: int, count: int, keep: float, seed: int = 0) -> np.ndarray:
    """Random subsets of the rows, all of one size.

    Subset i is the same however many are drawn, so asking for more of them later adds to those that are
    known.

    Args:
        rows: how many rows there are.
        count: how many subsets.
        keep: share of the rows that each keeps, between 0 and 1.
        seed: which subsets are drawn.

    Returns:
        Boolean, subsets × rows: True where the row is kept.

    Raises:
        SettingError: the share would keep no row or all of them.
    """
    size = round(keep * rows)
    if not 0 < size < rows:
        raise SettingError(
            f"a share of {keep:g} keeps {size} of {rows} rows; give one that keeps some and leaves some."
        )
    kept = np.zeros((count, rows), dtype=bool)
    for index, line in enumerate(kept):
        rng = np.random.default_rng((seed, index))
        line[rng.choice(rows, size, replace=False)] = True
    return kept


def without_top(scores: Scores, k: int, train_ids: Sequence[str]) -> np.ndarray:
    """For each query, all rows but the k that scores rank first.

    Args:
        scores: their order of rows may be another.
        k: how many rows are removed.
        train_ids: ids of the rows in the order of training.

    Returns:
        Boolean, queries of the scores × rows: True where the row is kept.
    """
    place = {id: index for index, id in enumerate(train_ids)}
    order = ranking(scores.values, scores.train_ids)[:, :k]
    kept = np.ones((len(scores.query_ids), len(train_ids)), dtype=bool)
    for line, top in zip(kept, order, strict=True):
        line[[place[scores.train_ids[i]] for i in top]] = False
    return kept


def without_random(rows: int, k: int, draws: int, seed: int = 0) -> np.ndarray:
    """All rows but k random ones, draw by draw: boolean, draws × rows."""
    return random_subsets(rows, draws, (rows - k) / rows, seed)


def sizes(texts: Sequence[str], rows: int) -> list[int]:
    """How many rows `5` or `10%` mean, smallest first.

    Raises:
        SettingError: a text is neither, or means no row or all of them.
    """
    found = set()
    for text in texts:
        number = text.strip().removesuffix("%")
        try:
            value = float(number)
        except ValueError:
            raise SettingError(f"{text!r} is no number of rows; write 5 or 10%.") from None
        k = max(1, round(value / 100 * rows)) if text.strip().endswith("%") else round(value)
        if not 0 < k < rows or value <= 0:
            raise SettingError(
                f"{text!r} means {k} of {rows} rows; give fewer than all, at least 1."
            )
        found.add(k)
    return sorted(found)
