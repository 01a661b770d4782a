"""Methods on projected gradients: LoGra and TrackStar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from wherefrom.curvature import (
    CovarianceBlock,
    FisherBlock,
    GramBlock,
    matrix_shape,
    projections,
)
from wherefrom.errors import SettingError
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._features import flat
from wherefrom.methods._fisher import Influence
from wherefrom.methods._method import Method, Resource, Trait
from wherefrom.methods._registry import method


@method("logra")
@dataclass(frozen=True)
class LoGra(Influence):
    """LoGra: damped Fisher influence on P_o G P_iᵀ, k × k for every weight matrix (2405.13954).

    A side no longer than k is not projected. The paper projects inside the backward pass; projecting the
    captured gradients gives the same numbers. λ is 0.1 × the mean eigenvalue, as in the paper.
    """

    paper: ClassVar[str] = "2405.13954"
    project: int = 64
    damping: float | None = 0.1
    rule: Literal["mean", "nonzero"] | None = "mean"

    @classmethod
    def variants(cls) -> list[Method]:
        """The default alone."""
        return [cls()]


@method("trackstar")
@dataclass(frozen=True)
class TrackStar(BlockMethod):
    """TrackStar: the inner product of unit(R^(−1/2) P(g/√v)) on both sides (2410.17413).

    g/√v divides by the root of AdamW's second moment, entry by entry (plus a thousandth of the block's, or
    rounding would count like gradient); P projects each weight matrix from two sides; R mixes the second
    moments of training rows and queries; the unit norm is of all blocks together. The paper's v is
    factored as Adafactor's; ours is AdamW's own.

    Attributes:
        dimension: k of P_o G P_iᵀ.
        mix: share of the queries in R; their scores then depend on each other.
        damping: c of R + λI, λ = c × the mean eigenvalue.
    """

    family: ClassVar[str] = "gradient"
    paper: ClassVar[str] = "2410.17413"
    unit: ClassVar[str] = "cosine, −1 to 1"
    raw_gradients: ClassVar[bool] = True
    resources: ClassVar[frozenset[Resource]] = frozenset({Resource.MOMENTS})
    dimension: int = 16
    mix: float = 0.1
    damping: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.project:
            raise SettingError(f"{self.name}: give dimension rather than project.")
        if self.dimension < 1 or not 0 <= self.mix < 1 or not self.damping > 0:
            raise SettingError(
                f"{self.name}: dimension must be at least 1, mix in [0, 1), damping above 0."
            )

    @property
    def traits(self) -> frozenset[Trait]:
        """R is made of all queries, where any."""
        return super().traits | ({Trait.QUERY_SET} if self.mix else set())

    def contribution(self, block: BlockEvidence) -> Sums:
        """Products and squared norms after R^(−1/2)."""
        train, query = self._features(block, "train"), self._features(block, "query")
        fisher = self._mixed(train, query)
        lam = self.damping * fisher.trace / max(1, fisher.size)
        if lam == 0:
            return {"score": np.zeros((len(query), len(train)))}
        return {
            "score": fisher.filtered(lambda s: 1 / (s + lam)),
            "train": fisher.self_filtered(lambda s: 1 / (s + lam)),
            "query": fisher.query_self_filtered(lambda s: 1 / (s + lam)),
        }

    def finish(self, sums: Sums, blocks: int) -> np.ndarray:
        """Cosines; a row without gradient scores 0."""
        norms = np.sqrt(np.maximum(np.outer(sums["query"], sums["train"]), 0.0))
        cosines = np.divide(sums["score"], norms, out=np.zeros_like(norms), where=norms > 0)
        return np.asarray(cosines)

    def _features(self, block: BlockEvidence, side: str) -> np.ndarray:
        named = block.raw.block
        root = np.sqrt(block.moments.second).reshape(named.shape)
        # entries whose gradient is nothing but rounding (biases of keys) would count like any other
        root = root + max(1e-8, 1e-3 * float(np.sqrt(np.mean(root**2))))
        values = getattr(block.raw, side) / root
        matrices = values.reshape(len(values), *matrix_shape(named))
        left, right = projections(named, self.dimension)
        matrices = matrices if left is None else left @ matrices
        matrices = matrices if right is None else matrices @ right.T
        return np.asarray(flat(matrices), np.float64)

    def _mixed(self, train: np.ndarray, query: np.ndarray) -> FisherBlock:
        n, q = len(train), len(query)
        if self.mix == 0 or q == 0:
            rows = train
        else:
            # weights such that the mean over all rows is (1 − μ)·R_train + μ·R_query
            weights = np.sqrt([(1 - self.mix) * (n + q) / n, self.mix * (n + q) / q])
            rows = np.concatenate([train * weights[0], query * weights[1]])
        form = CovarianceBlock if train.shape[1] <= len(rows) else GramBlock
        return form.of(train, query, rows)
