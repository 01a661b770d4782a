"""Near-duplicates: rows that say the same share the credit, and go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from wherefrom.answers._removal import removal
from wherefrom.data import Example
from wherefrom.diagnose import groups_of_copies
from wherefrom.errors import SettingError
from wherefrom.scores import Scores, tiebreaks


@dataclass(frozen=True)
class Group:
    """Training rows that are nearly the same text, as one cause.

    Attributes:
        rank: from 1, the group with the highest score first; a row without copies is a group of its own.
        score: sum of its rows' scores.
        rows: ids, the highest score first.
        numbers: places of these rows in the training set, from 0.
        removal: predicted change of the response's log-probability without all of them, in nats; None
            where the method defines none.
    """

    rank: int
    score: float
    rows: tuple[str, ...]
    numbers: tuple[int, ...]
    removal: float | None


def group_numbers(rows: Sequence[Example]) -> np.ndarray:
    """The group of each row: int64, (rows,); rows that are nearly the same text share a number."""
    return _numbers(tuple(rows))


@lru_cache(maxsize=2)
def _numbers(rows: tuple[Example, ...]) -> np.ndarray:
    """The same, kept: every answer of a run is about the same rows."""
    found = np.arange(len(rows))
    for group in groups_of_copies(rows):
        found[group] = min(group)
    numbers = np.unique(found, return_inverse=True)[1]
    numbers.setflags(write=False)
    return numbers


def grouped(scores: Scores, groups: np.ndarray, k: int, *, opponents: bool = False) -> list[Group]:
    """The groups whose rows together scored highest (or lowest) for the first query.

    Args:
        scores: of at least one query.
        groups: what `group_numbers` gave.
        k: how many groups.
        opponents: the lowest instead.

    Raises:
        SettingError: the groups are of other rows.
    """
    if len(groups) != len(scores.train_ids):
        raise SettingError(
            f"groups of {len(groups)} rows do not fit scores of {len(scores.train_ids)}."
        )
    values = scores.values[0].astype(np.float64)
    sums = np.bincount(groups, weights=values)
    predicted = removal(scores)
    lost = None if predicted is None else np.bincount(groups, weights=predicted[0])
    keys = tiebreaks(scores.train_ids)
    lowest_key = np.full(len(sums), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(lowest_key, groups, keys)
    order = np.lexsort((lowest_key, sums if opponents else -sums))[:k]
    found = []
    for rank, number in enumerate(order, start=1):
        members = np.flatnonzero(groups == number)
        members = members[np.lexsort((keys[members], -values[members]))]
        found.append(
            Group(
                rank,
                float(sums[number]),
                tuple(scores.train_ids[i] for i in members),
                tuple(int(i) for i in members),
                None if lost is None else float(lost[number]),
            )
        )
    return found
