"""TRAK: a linear model on projected gradients of the margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import flat
from wherefrom.methods._registry import method
from wherefrom.signals import MARGIN, TOKEN_LOSS, TOKENS, Kind, Need, Side


@method("trak")
@dataclass(frozen=True)
class Trak(BlockMethod):
    """TRAK: φ_qᵀ(ΦᵀΦ + λI)⁻¹φ_i · (1 − p̄_i) over an ensemble of checkpoints (2303.14186).

    φ = P∇Σ_t log(p_t/(1 − p_t)) with one random ±1 matrix P for all blocks; p̄_i is the mean probability of
    the row's counted tokens. Products and 1 − p̄ are averaged over checkpoints apart, as in the paper. The
    paper's ensemble is of separately trained models; ours are checkpoints of one run.

    Attributes:
        dimension: k, rows of P.
        damping: c of λ = c·tr(ΦᵀΦ)/min(n, k). The paper takes 0, which needs n well above k.
        seed: of P.
    """

    family: ClassVar[str] = "gradient"
    paper: ClassVar[str] = "2303.14186"
    unit: ClassVar[str] = "log-odds of the response, to first order, for one more visit of the row"
    raw_gradients: ClassVar[bool] = True
    tokens: str = MARGIN
    checkpoints: str = "mean"
    dimension: int = 512
    damping: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.project or self.aggregate != "sum" or self.tokens != MARGIN:
            raise SettingError(
                f"{self.name}: give dimension rather than project; it takes no tokens and no aggregate."
            )
        if self.dimension < 1 or not self.damping > 0:
            raise SettingError(f"{self.name}: dimension must be at least 1 and damping above 0.")

    @property
    def needs(self) -> frozenset[Need]:
        """Gradients of the margin, and the losses that p̄ comes from."""
        return self.signals | {Need(Kind.LOSS, side=Side.TRAIN, at=self.at)}

    def contribution(self, block: BlockEvidence) -> Sums:
        """The block's share of φ, training rows and queries."""
        named = block.raw.block
        # seeded by the block's name, so that φ does not depend on which other blocks are traced
        rng = np.random.default_rng([self.seed, *named.name.encode("utf-8")])
        signs = rng.integers(0, 2, (named.size, self.dimension), dtype=np.int8)
        matrix = (signs * 2 - 1).astype(np.float32) / np.float32(np.sqrt(self.dimension))
        train, query = block.raw.train, block.raw.query
        return {
            "train": flat(train).astype(np.float32) @ matrix,
            "query": flat(query).astype(np.float32) @ matrix,
        }

    def finish(self, sums: Sums, blocks: int) -> np.ndarray:
        """φ_qᵀ(ΦᵀΦ + λI)⁻¹φ_i at one state."""
        train, query = sums["train"].astype(np.float64), sums["query"].astype(np.float64)
        dual = len(train) < self.dimension
        gram = train @ train.T if dual else train.T @ train
        lam = self.damping * float(np.trace(gram)) / max(1, len(gram))
        gram[np.diag_indices_from(gram)] += lam
        if dual:
            # (ΦᵀΦ + λI)⁻¹Φᵀ = Φᵀ(ΦΦᵀ + λI)⁻¹
            return np.asarray(np.linalg.solve(gram, train @ query.T).T)
        return np.asarray(query @ np.linalg.solve(gram, train.T))

    def combine(
        self, values: Sequence[np.ndarray], points: Sequence[Point], evidence: Evidence
    ) -> np.ndarray:
        """Mean product × mean 1 − p̄."""
        unsure = np.mean([_unsure(point) for point in points], axis=0)
        return np.asarray(np.mean(values, axis=0) * unsure[None, :])


def _unsure(point: Point) -> np.ndarray:
    """1 − p̄ of every training row, p̄ the mean probability of its counted tokens."""
    source = point.source(Side.TRAIN)
    losses, tokens = source.read(TOKEN_LOSS).astype(np.float64), source.read(TOKENS)
    counted = np.arange(losses.shape[1])[None, :] < tokens[:, None]
    return np.asarray(1 - (np.exp(-losses) * counted).sum(1) / np.maximum(1, tokens))
