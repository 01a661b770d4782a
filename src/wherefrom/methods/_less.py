"""LESS: gradients as AdamW would take them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._features import flat
from wherefrom.methods._method import Method, Resource
from wherefrom.methods._registry import method


@method("less")
@dataclass(frozen=True)
class Less(BlockMethod):
    """LESS: cosine of the row's AdamW step with the query's gradient, over checkpoints (2402.04333).

    Training side Γ = (β₁m + (1 − β₁)g) / √(β₂v + (1 − β₂)g² + ε) with the saved moments, query side the
    plain gradient; the cosine is of all blocks together and weighted by learning rates. The paper projects
    both to 8,192 dimensions to store them; gradients are kept whole here, so nothing is projected.

    Attributes:
        momentum: keep m, which all rows share, as the paper does; `false` takes m = 0.
        beta1: AdamW's β₁.
        beta2: AdamW's β₂.
        epsilon: ε, inside the root as in the released code.
    """

    family: ClassVar[str] = "gradient"
    paper: ClassVar[str] = "2402.04333"
    unit: ClassVar[str] = "cosine"
    raw_gradients: ClassVar[bool] = True
    resources: ClassVar[frozenset[Resource]] = frozenset({Resource.MOMENTS})
    checkpoints: str = "rate"
    momentum: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.project:
            raise SettingError(f"{self.name} needs whole gradients and takes no project.")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and self.epsilon > 0):
            raise SettingError(f"{self.name}: beta1 and beta2 lie in [0, 1), epsilon above 0.")

    @classmethod
    def variants(cls) -> list[Method]:
        """With momentum, as published, and without."""
        return [cls(), cls(momentum=False)]

    def contribution(self, block: BlockEvidence) -> Sums:
        """Products, and squared norms of both sides."""
        shape = block.raw.block.shape
        first, second = block.moments.first.reshape(shape), block.moments.second.reshape(shape)
        g = block.raw.train
        step = (1 - self.beta1) * g
        step = step + self.beta1 * first if self.momentum else step
        step = step / np.sqrt(self.beta2 * second + (1 - self.beta2) * g**2 + self.epsilon)
        train = flat(step).astype(np.float64)
        query = flat(block.raw.query).astype(np.float64)
        return {
            "score": query @ train.T,
            "train": np.einsum("np,np->n", train, train),
            "query": np.einsum("qp,qp->q", query, query),
        }

    def finish(self, sums: Sums, blocks: int) -> np.ndarray:
        """Cosines of all blocks together."""
        norms = np.sqrt(np.outer(sums["query"], sums["train"]))
        cosines = np.divide(sums["score"], norms, out=np.zeros_like(norms), where=norms > 0)
        return np.asarray(cosines)
