"""Influence with the damped empirical Fisher: exact, DataInf, LiSSA and relative influence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.methods._block import REMOVAL, BlockEvidence, DampedMethod, Sums
from wherefrom.methods._method import Method, Trait
from wherefrom.methods._registry import method


@method("influence")
@dataclass(frozen=True)
class Influence(DampedMethod):
    """Exact damped empirical-Fisher influence qᵀ(F + λI)⁻¹g_i (Koh & Liang 2017)."""

    linear: ClassVar[bool] = True
    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "1703.04730"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = REMOVAL

    @classmethod
    def variants(cls) -> list[Method]:
        """Per block and whole, and with the true Fisher."""
        return [cls(), cls(scope="whole"), cls(curvature="true")]

    def contribution(self, block: BlockEvidence) -> Sums:
        """C U (σ + λ)⁻¹ Uᵀ."""
        lam = self.lam(block)
        return {"score": block.fisher.filtered(lambda s: 1 / (s + lam)), "damping": np.array(lam)}


@method("relative_influence")
@dataclass(frozen=True)
class RelativeInfluence(DampedMethod):
    """Influence over the root of the row's self-influence (Barshan et al. 2020, RelatIF)."""

    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "2003.11630"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = "influence per √self-influence"

    def contribution(self, block: BlockEvidence) -> Sums:
        """Influence and self-influence of the block."""
        lam = self.lam(block)
        return {
            "score": block.fisher.filtered(lambda s: 1 / (s + lam)),
            "self": block.fisher.self_filtered(lambda s: 1 / (s + lam)),
            "damping": np.array(lam),
        }

    def finish(self, sums: Sums, blocks: int) -> np.ndarray:
        """Σ influence / √Σ self-influence; a row without gradient scores 0."""
        own = np.sqrt(np.maximum(sums["self"], 0.0))[None, :]
        score = sums["score"]
        return np.asarray(np.divide(score, own, out=np.zeros_like(score), where=own > 0))


@method("rescaled_influence")
@dataclass(frozen=True)
class RescaledInfluence(DampedMethod):
    """Influence that counts what the row's own removal does to the curvature: qᵀ(F + λI − g_ig_iᵀ/n)⁻¹g_i.

    A rank-one downdate of the inverse (Sherman–Morrison): influence ÷ (1 − self-influence/n), per block
    or whole (arXiv 2506.06656). Rows of large leverage gain.
    """

    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "2506.06656"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = REMOVAL

    def contribution(self, block: BlockEvidence) -> Sums:
        """Influence over what leverage leaves."""
        lam = self.lam(block)
        own = block.fisher.self_filtered(lambda s: 1 / (s + lam)) / block.fisher.basis_rows
        score = block.fisher.filtered(lambda s: 1 / (s + lam))
        # of the empirical Fisher leverage is below 1; of the true one it need not be
        left = np.maximum(1 - own, 1e-6)
        return {"score": score / left[None, :], "damping": np.array(lam)}


@method("self_influence")
@dataclass(frozen=True)
class SelfInfluence(DampedMethod):
    """Influence of a row on itself, g_iᵀ(F + λI)⁻¹g_i: the same for every query.

    Rows that fit nothing else score highest: mislabelled, duplicated by none, or long. For finding such
    rows, and as a baseline that ignores the query.
    """

    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "1703.04730"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = (
        "nats; divided by n it predicts how much the row's own loss rises without it"
    )

    @property
    def traits(self) -> frozenset[Trait]:
        """It does not look at the query."""
        return super().traits | {Trait.QUERY_FREE, Trait.NO_EVIDENCE}

    def contribution(self, block: BlockEvidence) -> Sums:
        """Self-influence, once for every query."""
        lam = self.lam(block)
        own = block.fisher.self_filtered(lambda s: 1 / (s + lam))
        queries = len(block.fisher.query_norms)
        return {"score": np.tile(own, (queries, 1)), "damping": np.array(lam)}


@method("datainf")
@dataclass(frozen=True)
class DataInf(DampedMethod):
    """DataInf's closed form: the mean of rank-one inverses for the inverse of the mean.

    (1/λ)·[q·g_i − (1/n) Σ_j (q·g_j)(g_j·g_i)/(λ + ‖g_j‖²)] per block (Kwon et al. 2024, eq. 5). The
    paper states the negative, the effect of up-weighting a row on the query's loss.
    """

    linear: ClassVar[bool] = True
    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "2310.00902"
    unit: ClassVar[str] = REMOVAL

    def contribution(self, block: BlockEvidence) -> Sums:
        """The closed form on K and C."""
        lam = self.lam(block)
        mean = block.fisher.through_basis(lambda products, norms: products / (lam + norms))
        score = (block.fisher.cross - mean / block.fisher.basis_rows) / lam
        return {"score": score, "damping": np.array(lam)}


@method("lissa")
@dataclass(frozen=True)
class Lissa(DampedMethod):
    """LiSSA's iteration v ← q + (I − (F + λI)/s)·v, score v·g_i/s, run until it converges.

    After k steps v/s = Σ_{j≤k} (1 − (σ+λ)/s)^j q/s in F's eigenbasis, so k steps cost no more than one
    (Agarwal et al. 2017; s is 1.1 × the largest eigenvalue of F + λI). The number of steps is the
    smallest that brings the slowest direction's residual under `tolerance`, at most `steps`; the
    residual ‖(F + λI)v/s − q‖/‖q‖ that is left is reported with the scores.

    Attributes:
        tolerance: residual aimed at.
        steps: most steps taken.
    """

    linear: ClassVar[bool] = True
    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "1602.03943"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = REMOVAL
    tolerance: float = 1e-3
    steps: int = 100_000

    def contribution(self, block: BlockEvidence) -> Sums:
        """C U f_k(σ) Uᵀ, with the steps and the residual of the block."""
        lam = self.lam(block)
        sigma, _ = block.fisher.spectrum
        scale = 1.1 * (float(sigma.max()) + lam)
        slowest = 1 - lam / scale
        needed = np.log(self.tolerance) / np.log(slowest) if 0 < slowest < 1 else 1.0
        k = int(min(self.steps, max(1, np.ceil(needed))))

        def left(s: np.ndarray) -> np.ndarray:
            return np.asarray((1 - (s + lam) / scale) ** (k + 1))

        inside, outside = block.fisher.query_energy()
        rest = inside @ (left(sigma) ** 2) + outside * float(left(np.zeros(1))[0]) ** 2
        norm = np.where(block.fisher.query_norms > 0, block.fisher.query_norms, 1.0)
        return {
            "score": block.fisher.filtered(lambda s: (1 - left(s)) / (s + lam)),
            "damping": np.array(lam),
            "steps": np.array(float(k)),
            "residual": np.sqrt(np.mean(rest / norm) if len(norm) else 0.0),
        }


@method("paper_lissa")
@dataclass(frozen=True)
class PaperLissa(DampedMethod):
    """LiSSA as the code released with arXiv 2409.19998 has it, faults included.

    v ← q + v − (F − λI)·v/1000 for three steps from v = q: the sign of λ is wrong and 1000 is far above
    any eigenvalue, so wherever ‖F‖ ≪ 1000 the result is 4 × the gradient product. Kept so that the
    paper's tables can be made again; not a method to use.
    """

    linear: ClassVar[bool] = True
    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "2409.19998"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = "arbitrary (about 4 × gradient_dot)"

    def contribution(self, block: BlockEvidence) -> Sums:
        """Σ_{j≤3} (1 − (σ − λ)/1000)^j, as three steps from v = q give."""
        lam = self.lam(block)

        def f(s: np.ndarray) -> np.ndarray:
            step = 1 - (s - lam) / 1000
            return 1 + step + step**2 + step**3

        return {"score": block.fisher.filtered(f), "damping": np.array(lam)}
