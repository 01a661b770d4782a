"""Influence with the damped empirical Fisher: exact, DataInf, LiSSA and relative influence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from wherefrom.curvature import GramBlock
from wherefrom.data import Recipe
from wherefrom.errors import SettingError
from wherefrom.methods._method import BlockMethod, Method, method

_UNIT = "nats; divided by n it predicts how much the query's loss rises without the row"


@dataclass(frozen=True)
class _FisherMethod(BlockMethod):
    """A method with damping: λ_b = c·tr(F_b)/entries, by the recipe's rule.

    Attributes:
        damping: c; the recipe's when None.
    """

    family: ClassVar[str] = "influence"
    unit: ClassVar[str] = _UNIT
    damping: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.damping is not None and not self.damping > 0:
            raise SettingError(f"{self.name}: damping must be above 0, not {self.damping}.")

    def measured(self, sums: dict[str, np.ndarray], blocks: int) -> dict[str, Any]:
        """Mean λ over blocks, and what else was added up under a name of its own."""
        own = {k: float(v) / blocks for k, v in sums.items() if k not in ("score", "self")}
        return {f"mean {k}": value for k, value in own.items()}


@method("influence")
@dataclass(frozen=True)
class Influence(_FisherMethod):
    """Exact damped empirical-Fisher influence qᵀ(F + λI)⁻¹g_i (Koh & Liang 2017)."""

    paper: ClassVar[str] = "1703.04730"
    spectral: ClassVar[bool] = True

    @classmethod
    def variants(cls) -> list[Method]:
        """Per block and whole."""
        return [cls(), cls(scope="whole")]

    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """C U (σ + λ)⁻¹ Uᵀ."""
        lam = block.damping(recipe, self.damping)
        return {"score": block.filtered(lambda s: 1 / (s + lam)), "damping": np.array(lam)}


@method("relative_influence")
@dataclass(frozen=True)
class RelativeInfluence(_FisherMethod):
    """Influence over the root of the row's self-influence (Barshan et al. 2020, RelatIF)."""

    paper: ClassVar[str] = "2003.11630"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = "influence per √self-influence"

    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """Influence and self-influence of the block."""
        lam = block.damping(recipe, self.damping)
        return {
            "score": block.filtered(lambda s: 1 / (s + lam)),
            "self": block.self_filtered(lambda s: 1 / (s + lam)),
            "damping": np.array(lam),
        }

    def finish(self, sums: dict[str, np.ndarray], blocks: int) -> np.ndarray:
        """Σ influence / √Σ self-influence; a row without gradient scores 0."""
        own = np.sqrt(np.maximum(sums["self"], 0.0))[None, :]
        score = sums["score"]
        return np.asarray(np.divide(score, own, out=np.zeros_like(score), where=own > 0))


@method("datainf")
@dataclass(frozen=True)
class DataInf(_FisherMethod):
    """DataInf's closed form: the mean of rank-one inverses for the inverse of the mean.

    (1/λ)·[q·g_i − (1/n) Σ_j (q·g_j)(g_j·g_i)/(λ + ‖g_j‖²)] per block (Kwon et al. 2024, eq. 5). The
    paper states the negative, the effect of up-weighting a row on the query's loss.
    """

    paper: ClassVar[str] = "2310.00902"

    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """The closed form on K and C."""
        lam = block.damping(recipe, self.damping)
        weighted = block.cross / (lam + block.train_norms)
        return {
            "score": (block.cross - weighted @ block.gram / block.rows) / lam,
            "damping": np.array(lam),
        }


@method("lissa")
@dataclass(frozen=True)
class Lissa(_FisherMethod):
    """LiSSA's iteration v ← q + (I − (F + λI)/s)·v, score v·g_i/s, run until it converges.

    After k steps v/s = Σ_{j≤k} (1 − (σ+λ)/s)^j q/s in F's eigenbasis, so k steps cost no more than one
    (Agarwal et al. 2017; s is 1.1 × the largest eigenvalue of F + λI). The number of steps is the
    smallest that brings the slowest direction's residual under `tolerance`, at most `steps`; the
    residual ‖(F + λI)v/s − q‖/‖q‖ that is left is reported with the scores.

    Attributes:
        tolerance: residual aimed at.
        steps: most steps taken.
    """

    paper: ClassVar[str] = "1602.03943"
    spectral: ClassVar[bool] = True
    tolerance: float = 1e-3
    steps: int = 100_000

    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """C U f_k(σ) Uᵀ, with the steps and the residual of the block."""
        lam = block.damping(recipe, self.damping)
        sigma, _ = block.spectrum
        scale = 1.1 * (float(sigma.max()) + lam)
        slowest = 1 - lam / scale
        needed = np.log(self.tolerance) / np.log(slowest) if 0 < slowest < 1 else 1.0
        k = int(min(self.steps, max(1, np.ceil(needed))))

        def left(s: np.ndarray) -> np.ndarray:
            return np.asarray((1 - (s + lam) / scale) ** (k + 1))

        inside, outside = block.query_energy()
        rest = inside @ (left(sigma) ** 2) + outside * float(left(np.zeros(1))[0]) ** 2
        norm = np.where(block.query_norms > 0, block.query_norms, 1.0)
        return {
            "score": block.filtered(lambda s: (1 - left(s)) / (s + lam)),
            "damping": np.array(lam),
            "steps": np.array(float(k)),
            "residual": np.sqrt(np.mean(rest / norm)),
        }


@method("paper_lissa")
@dataclass(frozen=True)
class PaperLissa(_FisherMethod):
    """LiSSA as the code released with arXiv 2409.19998 has it, faults included.

    v ← q + v − (F − λI)·v/1000 for three steps from v = q: the sign of λ is wrong and 1000 is far above
    any eigenvalue, so wherever ‖F‖ ≪ 1000 the result is 4 × the gradient product. Kept so that the
    paper's tables can be made again; not a method to use.
    """

    paper: ClassVar[str] = "2409.19998"
    spectral: ClassVar[bool] = True
    unit: ClassVar[str] = "arbitrary (about 4 × gradient_dot)"

    def contribution(self, block: GramBlock, recipe: Recipe) -> dict[str, np.ndarray]:
        """Σ_{j≤3} (1 − (σ − λ)/1000)^j, as three steps from v = q give."""
        lam = block.damping(recipe, self.damping)

        def f(s: np.ndarray) -> np.ndarray:
            step = 1 - (s - lam) / 1000
            return 1 + step + step**2 + step**3

        return {"score": block.filtered(f), "damping": np.array(lam)}
