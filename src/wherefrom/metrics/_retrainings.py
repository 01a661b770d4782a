"""Retrainings: what became of models that were trained again on some of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.errors import NonFiniteError, SettingError
from wherefrom.metrics._bootstrap import content_order
from wherefrom.metrics._places import places
from wherefrom.scores import Scores

_FIX = (
    "Score every row and query of the retrainings; a row that was always trained on gets a column "
    "of True in `kept`."
)


@dataclass(frozen=True)
class Retrainings:
    """Outcomes of models that were retrained on subsets of the rows.

    Attributes:
        kept: boolean, subsets × training rows: True where the row was trained on.
        outcomes: float64, seeds × subsets × queries: what came out for the query, higher = more
            towards the query's response (its log-probability, say).
        query_ids: ids of the last axis of `outcomes`.
        train_ids: ids of the columns of `kept`.

    Raises:
        SettingError: shapes, the type of `kept` or ids do not fit, or an axis is empty.
        NonFiniteError: an outcome is NaN or Inf; seed, subset and query are named.
    """

    kept: np.ndarray
    outcomes: np.ndarray
    query_ids: tuple[str, ...]
    train_ids: tuple[str, ...]

    def __post_init__(self) -> None:
        outcomes = np.ascontiguousarray(self.outcomes, dtype=np.float64)
        object.__setattr__(self, "outcomes", outcomes)
        object.__setattr__(self, "query_ids", tuple(self.query_ids))
        object.__setattr__(self, "train_ids", tuple(self.train_ids))
        if self.kept.ndim != 2 or self.kept.dtype != np.bool_:
            raise SettingError(
                f"kept is {self.kept.dtype} of shape {self.kept.shape}; give a boolean matrix, "
                "subsets × training rows."
            )
        if outcomes.ndim != 3 or outcomes.shape[1] != len(self.kept):
            raise SettingError(
                f"outcomes have shape {outcomes.shape} for {len(self.kept)} subsets; give seeds × "
                "subsets × queries."
            )
        if not (self.kept.size and outcomes.size):
            raise SettingError(
                f"retrainings of shape {self.kept.shape} and {outcomes.shape} are empty; give at "
                "least one seed, subset, query and training row."
            )
        for name, ids, size in (
            ("query_ids", self.query_ids, outcomes.shape[2]),
            ("train_ids", self.train_ids, self.kept.shape[1]),
        ):
            if len(ids) != size or len(set(ids)) != size:
                raise SettingError(
                    f"{name} has {len(set(ids))} different ids for {size}. Name each once."
                )
        bad = np.argwhere(~np.isfinite(outcomes))
        if len(bad):
            seed, subset, query = bad[0]
            raise NonFiniteError(
                f"the outcome of query {self.query_ids[query]!r} at seed {seed} and subset {subset} "
                f"is {outcomes[seed, subset, query]} ({len(bad)} such values). Retrain that subset "
                "or leave it out of both arrays."
            )

    def take(self, subsets: Sequence[int] | np.ndarray) -> Retrainings:
        """The retrainings on some of the subsets.

        Args:
            subsets: their places, from 0.

        Raises:
            SettingError: a subset does not exist, none is asked for, or by something else than
                whole numbers.
        """
        chosen, size = np.asarray(subsets), len(self.kept)
        whole = chosen.ndim == 1 and len(chosen) and chosen.dtype.kind in "iu"
        if not whole or chosen.min() < 0 or chosen.max() >= size:
            raise SettingError(
                f"subsets are numbered 0 to {size - 1}; take at least one, by whole numbers."
            )
        return Retrainings(
            self.kept[chosen], self.outcomes[:, chosen], self.query_ids, self.train_ids
        )

    def split(self, n: int, seed: int = 0) -> tuple[Retrainings, Retrainings]:
        """Two disjoint parts: n subsets drawn at random, and the others.

        Which subsets are drawn depends on what they keep, not on their order. A subset that was
        retrained twice under two numbers may come to lie in both parts.

        Args:
            n: subsets of the first part.
            seed: which subsets are drawn.

        Raises:
            SettingError: one part would be empty, or the seed is negative.
        """
        size = len(self.kept)
        if not 0 < n < size or seed < 0:
            raise SettingError(
                f"{size} subsets cannot be split at {n} with the seed {seed}; give n from 1 to "
                f"{size - 1} and a seed from 0."
            )
        drawn = self._subset_order()[np.random.default_rng(seed).permutation(size)]
        return self.take(np.sort(drawn[:n])), self.take(np.sort(drawn[n:]))

    def ordered(self) -> Retrainings:
        """The same retrainings, every axis in an order that depends on its content alone.

        Queries and rows stand in the order of their ids. What resamples or rounds by place gives
        the same numbers for the same retrainings in any order.
        """
        rows, queries = _sorted_places(self.train_ids), _sorted_places(self.query_ids)
        subsets = self._subset_order()
        outcomes = self.outcomes[:, subsets][:, :, queries]
        seeds = content_order(outcomes.reshape(len(outcomes), -1))
        return Retrainings(
            kept=self.kept[np.ix_(subsets, rows)],
            outcomes=outcomes[seeds],
            query_ids=tuple(self.query_ids[i] for i in queries),
            train_ids=tuple(self.train_ids[i] for i in rows),
        )

    def predicted(self, scores: Scores) -> np.ndarray:
        """What scores say of each subset: the sum of the scores of the rows it keeps.

        Returns:
            float64, subsets × queries, in the order of the retrainings.

        Raises:
            IdentityError: the scores lack a query or training row of the retrainings, or have a
                training row that these do not know. Further queries are left aside.
        """
        ours, method = "the set of retrainings", scores.method
        queries = places(self.query_ids, scores.query_ids, "query", ours, method, _FIX)
        places(scores.train_ids, self.train_ids, "training row", method, ours, _FIX)
        rows = places(self.train_ids, scores.train_ids, "training row", ours, method, _FIX)
        values = scores.values[np.ix_(queries, rows)].astype(np.float64)
        return np.asarray(self.kept.astype(np.float64) @ values.T)

    def _subset_order(self) -> np.ndarray:
        rows, queries = _sorted_places(self.train_ids), _sorted_places(self.query_ids)
        # Subsets that keep the same rows are told apart by outcomes; these in any order of seeds.
        outcomes = np.sort(self.outcomes[:, :, queries], axis=0).transpose(1, 0, 2)
        flat = outcomes.reshape(len(self.kept), -1)
        return content_order(np.concatenate([self.kept[:, rows], flat], axis=1))


def _sorted_places(ids: tuple[str, ...]) -> np.ndarray:
    return np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.intp)
