"""Influence along the training run: what leads on ground truth by retraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from wherefrom.methods._fisher import Influence
from wherefrom.methods._method import Method
from wherefrom.methods._registry import method


@method("influence_along")
@dataclass(frozen=True)
class InfluenceAlong(Influence):
    """Influence with the true Fisher, its mean over the run's checkpoints, weighted by learning rates.

    The modifiers and the damping are those that foretold retraining best where they were chosen
    (docs/results/study.md): a row acts while it is being learned, and where it is known by heart the final
    model has hardly a gradient left of it. λ is 3 times the mean eigenvalue of F over all its entries,
    directions without curvature among them.
    """

    linear: ClassVar[bool] = True
    paper: ClassVar[str] = "1703.04730"
    curvature: str = "true"
    checkpoints: str = "rate"
    damping: float | None = 3.0
    rule: Literal["mean", "nonzero"] | None = "mean"

    @classmethod
    def variants(cls) -> list[Method]:
        """As it is."""
        return [cls()]
