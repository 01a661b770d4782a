"""Bayesian influence: how losses move together as weights are drawn around the final ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Trait
from wherefrom.methods._registry import method
from wherefrom.signals import LOSS, TOKENS, At, Kind, Need, Side, both


@method("bayesian")
@dataclass(frozen=True)
class BayesianInfluence(DirectMethod):
    """Covariance of losses over weights drawn around the final ones: +Cov(ℓ_i, ℓ_q) (2509.26544).

    Weights come from SGLD held near the final model by a spring (`wherefrom index` draws them; how many
    and how wide are settings of the run). For small steps the covariance is qᵀ(βH + γI)⁻¹g_i: damped
    influence without a Hessian. With D draws its error is about 1/√D of the two losses' spread.

    Attributes:
        correlation: divide by both spreads.
    """

    family: ClassVar[str] = "bayesian"
    paper: ClassVar[str] = "2509.26544"
    unit: ClassVar[str] = "nats², covariance over draws"
    correlation: bool = False

    @property
    def traits(self) -> frozenset[Trait]:
        """Other draws, other scores."""
        return frozenset({Trait.STOCHASTIC})

    @property
    def needs(self) -> frozenset[Need]:
        """Losses at the drawn weights."""
        return both(Kind.LOSS, at=At.DRAWS)

    def score(self, evidence: Evidence) -> np.ndarray:
        """Scores, queries × training rows."""
        if len(evidence.draws) < 2:
            raise SettingError(f"{self.name}: {len(evidence.draws)} draws; it takes two at least.")
        train, query = (self._losses(evidence, side) for side in (Side.TRAIN, Side.QUERY))
        covariance = query.T @ train / (len(train) - 1)
        if not self.correlation:
            return np.asarray(covariance)
        spread = np.sqrt(np.outer((query**2).sum(0), (train**2).sum(0))) / (len(train) - 1)
        return np.asarray(
            np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0)
        )

    def _losses(self, evidence: Evidence, side: Side) -> np.ndarray:
        """Losses by the recipe's reduction, draws × rows, their means taken off."""
        found = []
        for point in evidence.draws:
            source = point.source(side)
            losses = source.read(LOSS).astype(np.float64)
            mean = evidence.recipe.reduction == "mean"
            found.append(losses / np.maximum(1, source.read(TOKENS)) if mean else losses)
        stacked = np.stack(found)
        return np.asarray(stacked - stacked.mean(0))
