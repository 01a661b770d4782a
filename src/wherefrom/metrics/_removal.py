"""Leave-top-k-out: does taking away a method's top rows undo more than taking random ones?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wherefrom.errors import NonFiniteError, SettingError
from wherefrom.metrics._bootstrap import Estimate, content_order, crossed_multiplicities, ends


@dataclass(frozen=True)
class RemovalDrop:
    """What removing a method's top rows did to the queries' outcomes.

    All drops are full − removed, in the unit of the outcome: positive = removing the rows lowered
    it, so the rows had pushed the model towards the response.

    Attributes:
        drop: float64, one for each query: the drop, averaged over seeds.
        random_drop: float64, one for each query: that of random rows, averaged over draws and seeds.
        excess: float64, one for each query: drop − random_drop.
        p_value: float64, one for each query: (1 + draws whose drop is at least as large) /
            (1 + draws); 1 / (1 + draws) at best.
        mean_drop: mean of `drop` over queries, with its 95 % interval.
        mean_excess: mean of `excess` over queries, with its 95 % interval.
        mean_p_value: the same p-value for the mean over queries: draws whose mean drop is at least
            as large.
        draws: how many random removals there were.
        seeds: how many seeds.
    """

    drop: np.ndarray
    random_drop: np.ndarray
    excess: np.ndarray
    p_value: np.ndarray
    mean_drop: Estimate
    mean_excess: Estimate
    mean_p_value: float
    draws: int
    seeds: int


def removal_drop(
    full: np.ndarray,
    removed: np.ndarray,
    random: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> RemovalDrop:
    """Compares removing a method's top rows with removing as many random ones.

    Every seed is compared with itself. Intervals resample queries and seeds, both at once; they do
    not cover which random rows were drawn, so take enough draws. With one seed they say nothing
    about seeds; with fewer than two queries there are none. Random removals of another size than
    the method's, or retrained in another way, make all of this meaningless and cannot be noticed.
    Source of the test: Koh and Liang 2017, arXiv 1703.04730; of removing the top k: Ilyas et al.,
    arXiv 2202.00622, section 4.

    Args:
        full: outcomes after training on all rows, seeds × queries; higher = more towards the query's
            response (its log-probability, say).
        removed: outcomes without the rows that the method ranks first, seeds × queries.
        random: outcomes without as many random rows, draws × seeds × queries.
        resamples: how many resamples make the intervals.
        seed: which resamples are drawn.

    Raises:
        SettingError: shapes do not fit, an axis is empty, or resamples or seed do not fit.
        NonFiniteError: an outcome is NaN or Inf.
    """
    full, removed, random = _checked(full, removed, random)
    n_seeds, n_queries = full.shape
    drops, chance = full - removed, full - random
    drop, by_draw = drops.mean(axis=0), chance.mean(axis=1)
    random_drop = by_draw.mean(axis=0)
    seeds, queries = crossed_multiplicities((n_seeds, n_queries), resamples, seed)

    def estimate(values: np.ndarray) -> Estimate:
        mean = float(values.mean())
        if n_queries < 2:
            return Estimate(mean, np.nan, np.nan)
        # Resamples are drawn by place, which must play no part.
        ordered = values[:, content_order(np.sort(values, axis=0).T)]
        ordered = ordered[content_order(ordered)]
        drawn = np.einsum("kr,kq,qr->r", seeds, ordered, queries, optimize=True)
        return Estimate(mean, *ends(drawn / values.size))

    return RemovalDrop(
        drop=drop,
        random_drop=random_drop,
        excess=drop - random_drop,
        p_value=_p_value(drop, by_draw),
        mean_drop=estimate(drops),
        mean_excess=estimate(drops - chance.mean(axis=0)),
        mean_p_value=float(_p_value(drop.mean(), by_draw.mean(axis=1))),
        draws=len(random),
        seeds=n_seeds,
    )


def _p_value(drop: np.ndarray, by_draw: np.ndarray) -> np.ndarray:
    # The method's own removal counts as one more draw, so that no p-value is 0.
    return np.asarray((1 + (by_draw >= drop).sum(axis=0)) / (1 + len(by_draw)))


def _checked(
    full: np.ndarray, removed: np.ndarray, random: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    full, removed, random = (np.asarray(part, dtype=np.float64) for part in (full, removed, random))
    if full.ndim != 2 or removed.shape != full.shape or random.shape[1:] != full.shape:
        raise SettingError(
            f"outcomes have shapes {full.shape} (full), {removed.shape} (removed) and {random.shape} "
            "(random); give seeds × queries twice and draws × seeds × queries."
        )
    if not (full.size and random.size):
        raise SettingError(
            f"outcomes of shape {full.shape} and {random.shape} are empty; give at least one seed, "
            "query and random draw."
        )
    for name, part in (("full", full), ("removed", removed), ("random", random)):
        wrong = np.argwhere(~np.isfinite(part))
        if len(wrong):
            raise NonFiniteError(
                f"the outcome of {name} at {tuple(wrong[0].tolist())} is {part[tuple(wrong[0])]} "
                f"({len(wrong)} such values). Retrain that model or leave its seed out."
            )
    return full, removed, random
