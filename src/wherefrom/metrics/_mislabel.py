"""Mislabel detection: are mislabelled rows those with the highest self-influence?"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from wherefrom.errors import NonFiniteError, SettingError
from wherefrom.metrics._bootstrap import Estimate, crossed_multiplicities, ends
from wherefrom.metrics._drawn_ranks import midranks, precision_area

_Judge = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
_BLOCK = 64
"""Resamples that are judged at once, so that memory does not grow with all of them."""


class MislabelDetection(NamedTuple):
    """How well self-influence finds mislabelled rows.

    Attributes:
        auroc: chance that a mislabelled row stands above a sound one, a tie counting half; 0.5 where
            self-influence says nothing.
        average_precision: precision at each step of recall; the share of mislabelled rows where
            self-influence says nothing.
        found_in_10: share of the mislabelled rows that are found when the first 10 % of the rows
            are inspected, highest self-influence first; 0.1 where it says nothing.
        found_in_20: the same for the first 20 %.
        found_in_30: the same for the first 30 %.
        rows: number of rows.
        mislabelled: how many of them are mislabelled.
    """

    auroc: Estimate
    average_precision: Estimate
    found_in_10: float
    found_in_20: float
    found_in_30: float
    rows: int
    mislabelled: int


def mislabel_detection(
    self_influence: np.ndarray, mislabelled: np.ndarray, resamples: int = 1000, seed: int = 0
) -> MislabelDetection:
    """Judges self-influence as a detector of mislabelled rows.

    Rows are inspected from the highest self-influence down; rows that tie count as in random order,
    so the order of the rows plays no part. Intervals resample mislabelled and sound rows apart,
    each as many as there are: they cover which rows were drawn at a fixed share of mislabelled ones,
    and not the training run. Source: Koh and Liang 2017, arXiv 1703.04730, section 5.4; Pruthi et
    al. 2020, arXiv 2002.08484.

    Args:
        self_influence: one for each row; higher = odder.
        mislabelled: boolean, one for each row.
        resamples: how many resamples make the intervals.
        seed: which resamples are drawn.

    Returns:
        AUROC and average precision, with ends that are NaN where there are fewer than two rows of
        either kind; and the shares found. A first 10 % that is no whole number of rows is rounded
        up.

    Raises:
        SettingError: the two are not of one length, `mislabelled` is not boolean or all or none of
            its rows are, or resamples or seed do not fit.
        NonFiniteError: a self-influence is NaN or Inf; the row is named.
    """
    values, flipped = _checked(self_influence, mislabelled)
    # Sorted, the rows that a resample draws do not depend on their order.
    order = np.lexsort((flipped, values))
    values, flipped = values[order], flipped[order]
    n, bad = len(values), int(flipped.sum())
    drawn_bad, drawn_sound = crossed_multiplicities((bad, n - bad), resamples, seed)
    counts = np.empty((n, resamples))
    counts[flipped], counts[~flipped] = drawn_bad, drawn_sound
    once = np.ones((n, 1))

    def estimate(judge: _Judge) -> Estimate:
        value = float(judge(values, flipped, once)[0])
        if min(bad, n - bad) < 2:
            return Estimate(value, np.nan, np.nan)
        blocks = [counts[:, start : start + _BLOCK] for start in range(0, resamples, _BLOCK)]
        drawn = np.concatenate([judge(values, flipped, block) for block in blocks])
        return Estimate(value, *ends(drawn))

    return MislabelDetection(
        auroc=estimate(_auroc),
        average_precision=estimate(precision_area),
        found_in_10=_found(values, flipped, 10),
        found_in_20=_found(values, flipped, 20),
        found_in_30=_found(values, flipped, 30),
        rows=n,
        mislabelled=bad,
    )


def _checked(self_influence: np.ndarray, mislabelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(self_influence, dtype=np.float64)
    if values.ndim != 1 or mislabelled.shape != values.shape or mislabelled.dtype != np.bool_:
        raise SettingError(
            f"self-influence has shape {values.shape} and mislabelled is {mislabelled.dtype} of "
            f"shape {mislabelled.shape}; give a number and a boolean for each row."
        )
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise NonFiniteError(
            f"the self-influence of row {wrong[0]} is {values[wrong[0]]} ({len(wrong)} such values). "
            "Check that row and the model's weights for NaN."
        )
    bad = int(mislabelled.sum())
    if not 0 < bad < len(values):
        raise SettingError(
            f"{bad} of {len(values)} rows are mislabelled; detection needs at least one that is and "
            "one that is not."
        )
    return values, mislabelled


def _auroc(values: np.ndarray, flipped: np.ndarray, counts: np.ndarray) -> np.ndarray:
    bad, sound = counts[flipped].sum(axis=0), counts[~flipped].sum(axis=0)
    ranks = (midranks(values, counts) * counts)[flipped].sum(axis=0)
    return np.asarray((ranks - bad * (bad + 1) / 2) / (bad * sound))


def _found(values: np.ndarray, flipped: np.ndarray, percent: int) -> float:
    inspected = -(-len(values) * percent // 100)
    edge = np.sort(values)[::-1][inspected - 1]
    above, tied = values > edge, values == edge
    # Of the rows that tie at the edge, only some fit; which, chance decides.
    share = (inspected - above.sum()) / tied.sum()
    found = (above & flipped).sum() + share * (tied & flipped).sum()
    return float(found / flipped.sum())
