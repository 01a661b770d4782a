"""Guilt: the rows that pushed towards a whole set of bad answers, and not towards good ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.answers._copies import group_numbers
from wherefrom.answers._guilty_rows import GuiltyGroup, GuiltyRow
from wherefrom.answers._removal import removal
from wherefrom.answers._spread import in_spreads
from wherefrom.data import Example
from wherefrom.errors import IdentityError, SettingError
from wherefrom.scores import SIGN, Scores, ranking, tiebreaks

if TYPE_CHECKING:
    import pandas as pd

_RESAMPLES = 1000
_ENDS = (2.5, 97.5)
_BLOCK = 2048
"""Causes whose resampled means are held at once."""


@dataclass(frozen=True)
class Guilt:
    """One ranked list of rows for a set of bad answers.

    A bad answer whose scores are large must not outvote the others, so each query's scores are divided by
    their own root mean square before they are averaged. A row that pushes towards everything is loud, not
    guilty: what it does for the good answers is taken off.

    Attributes:
        bad: scores of the bad answers, queries × training rows; higher = pushed more towards the answer.
        good: scores of the good ones by the same method; None where none were given.
        train: the training rows, in the order of the scores' columns.
        k: rows of a bad answer that count as its first ones, for `hits`.

    Raises:
        SettingError: there is no bad answer, or k is below 1.
        IdentityError: scores and rows are not of each other, or the two are of different methods.
    """

    bad: Scores
    good: Scores | None
    train: tuple[Example, ...]
    k: int = 10

    def __post_init__(self) -> None:
        if not self.bad.query_ids:
            raise SettingError("no bad answer was given; there is nothing to be guilty of.")
        if self.k < 1:
            raise SettingError(f"k is {self.k}; give at least 1.")
        ids = tuple(row.id for row in self.train)
        for scores in (self.bad, self.good):
            if scores is not None and scores.train_ids != ids:
                raise IdentityError(f"scores of {scores.method} are of other training rows.")
        if self.good is not None and self.good.method != self.bad.method:
            raise IdentityError(
                f"the bad answers were scored by {self.bad.method} and the good ones by "
                f"{self.good.method}; use one method."
            )

    @property
    def method(self) -> str:
        """The method as typed."""
        return self.bad.method

    @cached_property
    def values(self) -> np.ndarray:
        """Guilt of each training row: float64, (rows,)."""
        return np.asarray(self._towards_bad - self._towards_good)

    @cached_property
    def group_numbers(self) -> np.ndarray:
        """Group of near-duplicates of each training row: int64, (rows,)."""
        return group_numbers(self.train)

    @cached_property
    def order(self) -> np.ndarray:
        """Places of the training rows, from 0, the guiltiest first; ties by a digest of the id."""
        return np.asarray(ranking(self.values[None], self.bad.train_ids)[0])

    def lines(self, k: int | None = 10) -> list[GuiltyRow]:
        """The k guiltiest rows; all of them when None."""
        return self.lines_of(self.order[:k].tolist())

    def lines_of(self, places: Sequence[int]) -> list[GuiltyRow]:
        """What is known of some rows.

        Args:
            places: of the rows in the training set, from 0.
        """
        low, high = self._interval([[place] for place in places])
        ranks = np.empty(len(self.train), dtype=np.int64)
        ranks[self.order] = np.arange(1, len(self.train) + 1)
        sizes = np.bincount(self.group_numbers)
        found = []
        for index, place in enumerate(places):
            row, group = self.train[place], int(self.group_numbers[place])
            found.append(
                GuiltyRow(
                    rank=int(ranks[place]),
                    guilt=float(self.values[place]),
                    low=_known(low[index]),
                    high=_known(high[index]),
                    bad=float(self._towards_bad[place]),
                    good=None if self.good is None else float(self._towards_good[place]),
                    removal_bad=_sum(self._lost_bad, [place]),
                    removal_good=_sum(self._lost_good, [place]),
                    hits=int(self._among_first[:, place].sum()),
                    row=row.id,
                    number=place + 1,
                    source=row.source,
                    label=row.label,
                    group=group,
                    copies=int(sizes[group]),
                    prompt=row.prompt,
                    response=row.response,
                )
            )
        return found

    def groups(self, k: int | None = 10) -> list[GuiltyGroup]:
        """The k guiltiest groups of near-duplicates, each as one cause; all of them when None."""
        order, sums = self._group_order
        chosen = order[:k].tolist()
        members = [self._members(group) for group in chosen]
        low, high = self._interval(members)
        found = []
        for index, (group, rows) in enumerate(zip(chosen, members, strict=True)):
            found.append(
                GuiltyGroup(
                    rank=index + 1,
                    guilt=float(sums[group]),
                    low=_known(low[index]),
                    high=_known(high[index]),
                    bad=float(self._towards_bad[rows].sum()),
                    good=None if self.good is None else float(self._towards_good[rows].sum()),
                    removal_bad=_sum(self._lost_bad, rows),
                    removal_good=_sum(self._lost_good, rows),
                    hits=int(self._among_first[:, rows].any(1).sum()),
                    group=group,
                    rows=tuple(self.train[i].id for i in rows),
                    numbers=tuple(i + 1 for i in rows),
                )
            )
        return found

    def guilty(self, top: int, *, by_group: bool = True) -> list[list[int]]:
        """The rows to take away for the `top` guiltiest causes, the guiltiest cause first.

        Args:
            top: how many causes; those whose guilt is not above 0 are never among them.
            by_group: a cause is a whole group of near-duplicates rather than a single row: taking away one
                of two copies changes next to nothing.

        Returns:
            For each cause, places of its rows in the training set, from 0.

        Raises:
            SettingError: `top` is below 1.
        """
        if top < 1:
            raise SettingError(f"top is {top}; give at least 1.")
        if not by_group:
            return [[i] for i in self.order[:top].tolist() if self.values[i] > 0]
        order, sums = self._group_order
        return [self._members(group) for group in order[:top].tolist() if sums[group] > 0]

    def predicted(self, places: Sequence[int]) -> tuple[float | None, float | None]:
        """Predicted mean change of the answers' log-probability without some rows, in nats.

        To first order, so that rows add up; it is wrong where many rows are taken.

        Returns:
            Of the bad answers and of the good ones; None where the method defines no such number, or
            there are no good ones.
        """
        return _sum(self._lost_bad, places), _sum(self._lost_good, places)

    def to_pandas(self, k: int | None = None) -> pd.DataFrame:
        """One line for each row, the guiltiest first: the k guiltiest, or all."""
        import pandas as pd

        columns = list(GuiltyRow.__dataclass_fields__)
        return pd.DataFrame([asdict(line) for line in self.lines(k)], columns=columns)

    def to_json(self, k: int | None = 10) -> dict[str, Any]:
        """What a page or a file shows of it."""
        return {
            "method": self.method,
            "unit": self.bad.unit,
            "bad": list(self.bad.query_ids),
            "good": [] if self.good is None else list(self.good.query_ids),
            "k": self.k,
            "rows": [asdict(line) for line in self.lines(k)],
            "groups": [asdict(one) for one in self.groups(k)],
            "sign": SIGN,
        }

    @cached_property
    def _bad_units(self) -> np.ndarray:
        return in_spreads(self.bad.values)

    @cached_property
    def _good_units(self) -> np.ndarray | None:
        given = self.good is not None and len(self.good.query_ids) > 0
        return in_spreads(self.good.values) if self.good is not None and given else None

    @cached_property
    def _towards_bad(self) -> np.ndarray:
        return np.asarray(self._bad_units.mean(0))

    @cached_property
    def _towards_good(self) -> np.ndarray:
        if self._good_units is None:
            return np.zeros(len(self.train))
        return np.asarray(self._good_units.mean(0))

    @cached_property
    def _lost_bad(self) -> np.ndarray | None:
        return _mean_removal(self.bad)

    @cached_property
    def _lost_good(self) -> np.ndarray | None:
        return None if self.good is None else _mean_removal(self.good)

    @cached_property
    def _among_first(self) -> np.ndarray:
        found = np.zeros(self.bad.values.shape, dtype=bool)
        np.put_along_axis(found, self.bad.top(self.k).indices, True, axis=1)
        return found

    @cached_property
    def _group_order(self) -> tuple[np.ndarray, np.ndarray]:
        """Groups, the guiltiest first, and the guilt of each by its number."""
        groups = self.group_numbers
        sums = np.bincount(groups, weights=self.values)
        lowest = np.full(len(sums), np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(lowest, groups, tiebreaks(self.bad.train_ids))
        return np.lexsort((lowest, -sums)), sums

    @cached_property
    def _by_group(self) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for place in self.order.tolist():
            found.setdefault(int(self.group_numbers[place]), []).append(place)
        return found

    def _members(self, group: int) -> list[int]:
        """Rows of a group, the guiltiest first."""
        return self._by_group[group]

    def _interval(self, causes: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the 95 % interval of each cause's guilt; bad and good queries are drawn apart."""
        low = np.full(len(causes), np.nan)
        high = low.copy()
        if len(self.bad.query_ids) < 2:
            return low, high
        streams = np.random.SeedSequence(0).generate_state(2)
        bad = _resampled(self.bad.query_ids, int(streams[0]))
        good = None if self.good is None else _resampled(self.good.query_ids, int(streams[1]))
        for start in range(0, len(causes), _BLOCK):
            part = causes[start : start + _BLOCK]
            means = bad @ _summed(self._bad_units, part)
            if good is not None and self._good_units is not None:
                means = means - good @ _summed(self._good_units, part)
            ends = np.percentile(means, _ENDS, axis=0)
            low[start : start + len(part)], high[start : start + len(part)] = ends
        return low, high


def _mean_removal(scores: Scores) -> np.ndarray | None:
    predicted = removal(scores)
    return None if predicted is None or not len(predicted) else np.asarray(predicted.mean(0))


def _resampled(ids: Sequence[str], seed: int) -> np.ndarray:
    """Weights of the queries in each resample: resamples × queries; they hang on ids, not on places."""
    queries = len(ids)
    if not queries:
        return np.zeros((_RESAMPLES, 0))
    drawn = np.random.default_rng(seed).multinomial(queries, [1 / queries] * queries, _RESAMPLES)
    places = np.argsort(np.argsort(tiebreaks(ids), kind="stable"), kind="stable")
    return np.asarray(drawn[:, places] / queries)


def _summed(units: np.ndarray, causes: Sequence[Sequence[int]]) -> np.ndarray:
    return np.stack([units[:, list(rows)].sum(1) for rows in causes], axis=1)


def _sum(values: np.ndarray | None, places: Sequence[int]) -> float | None:
    return None if values is None else float(values[list(places)].sum())


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
