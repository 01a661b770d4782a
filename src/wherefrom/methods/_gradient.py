"""Gradient products: the inner product and the cosine of loss gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.curvature import GramBlock
from wherefrom.data import Recipe
from wherefrom.methods._method import BlockMethod, Method, method


@method("gradient_dot")
@dataclass(frozen=True)
class GradientDot(BlockMethod):
    """Inner product of loss gradients, Σ_b q_b·g_{i,b} (the paper's Hessian-free).

    TracIn of the last checkpoint alone (Pruthi et al. 2020).
    """

    family: ClassVar[str] = "gradient"
    paper: ClassVar[str] = "2002.08484"
    unit: ClassVar[str] = "nats off the query's loss for a unit gradient step on the row"

    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """C."""
        return {"score": block.cross}


@method("gradient_cosine")
@dataclass(frozen=True)
class GradientCosine(BlockMethod):
    """Cosine of loss gradients: of the whole gradient, or its mean over blocks."""

    family: ClassVar[str] = "gradient"
    unit: ClassVar[str] = "cosine, −1 to 1"

    @classmethod
    def variants(cls) -> list[Method]:
        """Per block and whole."""
        return [cls(), cls(scope="whole")]

    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """C, each entry over both norms."""
        norms = np.sqrt(np.outer(block.query_norms, block.train_norms))
        return {"score": np.divide(block.cross, norms, out=np.zeros_like(norms), where=norms > 0)}

    def finish(self, sums: dict[str, np.ndarray], blocks: int) -> np.ndarray:
        """The mean over blocks."""
        return sums["score"] / blocks
