"""What a score says would happen without the row, where its unit says so."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.methods import predicts_removal
from wherefrom.metrics import Retrainings
from wherefrom.scores import Scores

_KEY = "removal scaled by"
_RESAMPLES = 500


@dataclass(frozen=True)
class Calibration:
    """By how much predicted removals are off, as retraining on parts of the rows says.

    Attributes:
        factor: what predictions are multiplied by.
        low: lower end of its 95 % interval over queries.
        high: upper end.
        models: retrained models that it was measured on.
    """

    factor: float
    low: float
    high: float
    models: int


def removal(scores: Scores) -> np.ndarray | None:
    """Predicted change of each query's log-probability if a row had not been trained on.

    First order: −score/n (Koh & Liang 2017), times the factor of a `Calibration` where the scores carry
    one. In nats, of what the recipe calls a row's loss: a token's mean or the response's sum. Removing
    several rows adds up. Uncalibrated, the numbers can be many times too large or too small, and are
    good for their order.

    Returns:
        float64, queries × training rows; negative = the response gets less likely without the row. None
        where the method defines no such number.
    """
    if not predicts_removal(scores.unit):
        return None
    known = calibration_of(scores)
    factor = 1.0 if known is None else known.factor
    return -scores.values.astype(np.float64) * factor / max(1, len(scores.train_ids))


def calibration_of(scores: Scores) -> Calibration | None:
    """The calibration that scores carry."""
    held = scores.settings.get(_KEY)
    return None if held is None else Calibration(**held)


def size_of_removal(scores: Scores) -> str:
    """How far the size of predicted removals can be relied on, in words; empty where none are predicted."""
    if not predicts_removal(scores.unit):
        return ""
    known = calibration_of(scores)
    if known is None:
        return "to first order: its order tells, its size can be many times too large or too small"
    interval = f"{known.factor:.3g} [{known.low:.3g}–{known.high:.3g}]"
    return f"scaled by {interval}, as {known.models} models trained on parts of the rows say"


def with_calibration(scores: Scores, calibration: Calibration | None) -> Scores:
    """The same scores, predictions of removal scaled; their values stay."""
    if calibration is None or not predicts_removal(scores.unit):
        return scores
    return replace(scores, settings={**scores.settings, _KEY: asdict(calibration)})


def calibrate(scores: Scores, retrainings: Retrainings) -> Calibration:
    """Fits the scale of predicted removals to models that were trained on parts of the rows.

    The least-squares slope of outcomes on predictions, both less their mean over subsets of each query:
    what all queries share and where a query stands say nothing of rows.

    Args:
        scores: of the queries of `retrainings`, in a unit that predicts removals; further queries are left
            aside.
        retrainings: outcomes are log-probabilities, in the nats that the scores are about.

    Raises:
        SettingError: the scores predict no removal, or are of other rows or queries.
    """
    predicted = removal(_uncalibrated(scores))
    if predicted is None:
        raise SettingError(f"{scores.method} predicts no removal, so there is nothing to scale.")
    missing = [id for id in retrainings.query_ids if id not in scores.query_ids]
    if missing or scores.train_ids != retrainings.train_ids:
        raise SettingError(f"{scores.method}: the retrainings are of other queries or rows.")
    places = [scores.query_ids.index(id) for id in retrainings.query_ids]
    told = (~retrainings.kept).astype(np.float64) @ predicted[places].T
    seen = retrainings.outcomes.mean(0)
    told, seen = told - told.mean(0), seen - seen.mean(0)
    products, squares = (told * seen).sum(0), (told**2).sum(0)
    draws = np.random.default_rng(0).integers(0, len(places), (_RESAMPLES, len(places)))
    slopes = _ratio(products[draws].sum(1), squares[draws].sum(1))
    low, high = np.quantile(slopes, [0.025, 0.975])
    seeds, subsets, _ = retrainings.outcomes.shape
    factor = float(_ratio(products.sum(), squares.sum()))
    return Calibration(factor, float(low), float(high), seeds * subsets)


def _uncalibrated(scores: Scores) -> Scores:
    """The scores without a calibration that they carry."""
    return replace(scores, settings={k: v for k, v in scores.settings.items() if k != _KEY})


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(over, under, out=np.zeros_like(over), where=under > 0))
