"""K-FAC and EK-FAC influence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.curvature import KroneckerFactors, matrix_shape
from wherefrom.errors import SettingError
from wherefrom.methods._block import REMOVAL, BlockEvidence, BlockMethod, Sums
from wherefrom.methods._features import flat
from wherefrom.methods._registry import method
from wherefrom.signals import SAMPLED, Kind, Need, Side


@dataclass(frozen=True)
class _KroneckerMethod(BlockMethod):
    """Influence with F in Kronecker factors; LoRA's A and B are two linear layers.

    Attributes:
        damping: c of λ = c·mean Λ, block by block.
    """

    family: ClassVar[str] = "influence"
    unit: ClassVar[str] = REMOVAL
    raw_gradients: ClassVar[bool] = True
    linear: ClassVar[bool] = True
    damping: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.damping > 0:
            raise SettingError(f"{self.name}: damping must be above 0, not {self.damping}.")
        if self.project:
            raise SettingError(f"{self.name} needs whole gradients and takes no project.")

    @property
    def needs(self) -> frozenset[Need]:
        """Gradients, and factors under labels drawn from the model."""
        factors = {Need(Kind.FACTORS, side=Side.TRAIN, at=need.at) for need in self.signals}
        return self.signals | factors

    def contribution(self, block: BlockEvidence) -> Sums:
        """⟨Q_L[(Q_Lᵀ q Q_R) ⊘ (Λ + λ)]Q_Rᵀ, g_i⟩."""
        factors, eigenvalues = self._curvature(block)
        lam = self.damping * float(eigenvalues.mean())
        if lam == 0:
            return {"score": np.zeros((len(block.raw.query), len(block.raw.train)))}
        solved = factors.back(factors.rotate(block.raw.query) / (eigenvalues + lam))
        train = flat(block.raw.train)
        score = flat(solved) @ train.T.astype(np.float64)
        return {"score": score, "damping": np.array(lam)}

    def eigenvalues(self, block: BlockEvidence, factors: KroneckerFactors) -> np.ndarray:
        """Λ, rows × columns of the weight."""
        return factors.eigenvalues

    def _curvature(self, block: BlockEvidence) -> tuple[KroneckerFactors, np.ndarray]:
        """Bases and eigenvalues, which every question of the same rows shares."""

        def made() -> tuple[KroneckerFactors, np.ndarray]:
            factors = block.factors
            return factors, self.eigenvalues(block, factors)

        rows, columns = matrix_shape(block.raw.block)
        size = 8.0 * (2 * rows**2 + 2 * columns**2 + rows * columns)
        found: tuple[KroneckerFactors, np.ndarray] = block.raw.worked_out(self.name, made, size)
        return found


@method("kfac")
@dataclass(frozen=True)
class KFac(_KroneckerMethod):
    """Influence with K-FAC curvature: Λ = T̄·s⊗a from the factors alone (Martens & Grosse 2015).

    A = E[a aᵀ] and S = E[δ̂ δ̂ᵀ] over all tokens that are no pads, δ̂ under labels drawn from the model at
    the counted positions. T̄, the mean number of tokens of a row, brings A ⊗ S to the scale of F;
    kronfluence leaves it out, so that its scores at λ are T̄ times these at T̄λ.
    """

    paper: ClassVar[str] = "1503.05671"


@method("ekfac")
@dataclass(frozen=True)
class EKFac(_KroneckerMethod):
    """Influence with EK-FAC curvature: K-FAC's bases, their eigenvalues refitted (2308.03296).

    Λ = mean over rows of (Q_Lᵀ Ĝ Q_R)², Ĝ the row's whole gradient under labels drawn from the model. The
    stored Ĝ are rotated, so no second pass over the model is made.
    """

    paper: ClassVar[str] = "2308.03296"

    @property
    def needs(self) -> frozenset[Need]:
        """K-FAC's, and the gradients under drawn labels of every row."""
        drawn = {Need(Kind.GRADIENT, SAMPLED, Side.TRAIN, need.at) for need in self.signals}
        return super().needs | drawn

    def eigenvalues(self, block: BlockEvidence, factors: KroneckerFactors) -> np.ndarray:
        """Λ, rows × columns of the weight."""
        return factors.corrected(block.sampled(), len(block.point.source(Side.TRAIN).ids))
