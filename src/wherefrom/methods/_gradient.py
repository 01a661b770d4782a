"""Gradient products: inner product and cosine, at the final model or along the training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._method import Method
from wherefrom.methods._registry import method
from wherefrom.signals import At


@method("gradient_dot")
@dataclass(frozen=True)
class GradientDot(BlockMethod):
    """Inner product of loss gradients, Σ_b q_b·g_{i,b} (the paper's Hessian-free).

    TracIn of the last checkpoint alone (Pruthi et al. 2020).
    """

    linear: ClassVar[bool] = True
    family: ClassVar[str] = "gradient"
    paper: ClassVar[str] = "2002.08484"
    unit: ClassVar[str] = "nats off the query's loss for a unit gradient step on the row"

    def contribution(self, block: BlockEvidence) -> Sums:
        """C."""
        return {"score": block.fisher.cross}


@method("gradient_cosine")
@dataclass(frozen=True)
class GradientCosine(BlockMethod):
    """Cosine of loss gradients: of the whole gradient, or its mean over blocks."""

    additive: ClassVar[bool] = True
    family: ClassVar[str] = "gradient"
    unit: ClassVar[str] = "cosine, −1 to 1"

    @classmethod
    def variants(cls) -> list[Method]:
        """Per block and whole."""
        return [cls(), cls(scope="whole")]

    def contribution(self, block: BlockEvidence) -> Sums:
        """C, each entry over both norms."""
        return {"score": block.fisher.unit().cross}

    def finish(self, sums: Sums, blocks: int) -> np.ndarray:
        """The mean over blocks."""
        return sums["score"] / blocks


@method("tracin")
@dataclass(frozen=True)
class TracIn(GradientDot):
    """Inner products added up over checkpoints, each times its learning rates: Σ_c (Σ_t η_t) q_c·g_{c,i}.

    TracInCP (Pruthi et al. 2020, eq. 1), derived for SGD: under AdamW a step is not η·g, and the sum is
    an analogy. A checkpoint stands for a part of the steps t of the run, with all their rates.
    """

    unit: ClassVar[str] = (
        "nats off the query's loss, to first order, were every step taken along the row's gradient"
    )
    summed: ClassVar[bool] = True
    checkpoints: str = "rate"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at is not At.CHECKPOINTS:
            raise SettingError(f"{self.name} adds up checkpoints; at one state it is gradient_dot.")

    @property
    def alone(self) -> Method:
        """Inner products at one state."""
        own = {f.name: getattr(self, f.name) for f in fields(GradientDot)}
        return GradientDot(**{**own, "checkpoints": "final"})

    def combine(
        self, values: Sequence[np.ndarray], points: Sequence[Point], evidence: Evidence
    ) -> np.ndarray:
        """The sum along the run, where other methods take the mean."""
        return super().combine(values, points, evidence) * sum(point.reach for point in points)
