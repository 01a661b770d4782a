"""SOURCE: influence through the training run, segment by segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.curvature import FactorSums, KroneckerFactors
from wherefrom.errors import SettingError
from wherefrom.methods._block import REMOVAL
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import flat
from wherefrom.methods._method import DirectMethod
from wherefrom.methods._registry import method
from wherefrom.signals import SAMPLED, At, Block, Kind, Need, Side, gradient_name


@method("source")
@dataclass(frozen=True)
class SourceMethod(DirectMethod):
    """Approximate unrolling of the training run with EK-FAC curvature (2405.12186).

    The run is cut into segments. In each, with curvature H and mean gradients ḡ_i over its checkpoints,
    learning rate η and K steps: r_i = (I − e^(−ηKH))H⁻¹ḡ_i and S = e^(−ηKH); the score is
    q·Σ_l (Π_{l'>l} S_{l'}) r_{l,i}, q at the final model. Derived for SGD: AdamW's steps are not η·g, so
    ηK says too little here and the scores lean towards inner products along the run.

    Attributes:
        segments: into how many the checkpoints are cut, at most.
    """

    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "2405.12186"
    unit: ClassVar[str] = REMOVAL
    segments: int = 3

    def __post_init__(self) -> None:
        if self.segments < 1:
            raise SettingError(f"{self.name}: segments must be at least 1, not {self.segments}.")

    @property
    def needs(self) -> frozenset[Need]:
        """Training gradients, drawn and true, and factors at the checkpoints; queries at the end."""
        train = {
            Need(Kind.GRADIENT, target, Side.TRAIN, At.CHECKPOINTS) for target in ("loss", SAMPLED)
        }
        factors = Need(Kind.FACTORS, side=Side.TRAIN, at=At.CHECKPOINTS)
        return frozenset({*train, factors, Need(Kind.GRADIENT, side=Side.QUERY)})

    def score(self, evidence: Evidence) -> np.ndarray:
        """Scores, queries × training rows."""
        if not evidence.checkpoints:
            raise SettingError(f"{self.name}: no checkpoints were captured.")
        cut = np.array_split(np.arange(len(evidence.checkpoints)), self.segments)
        segments = [[evidence.checkpoints[i] for i in part] for part in cut if len(part)]
        query = evidence.final.source(Side.QUERY)
        values = np.zeros((len(evidence.query_rows), len(evidence.train_rows)))
        for block in query.blocks:
            left = query.read(gradient_name(block.name)).astype(np.float64)
            for points in reversed(segments):
                part, left = _segment(points, block, left)
                values += part
        return values


def _segment(
    points: Sequence[Point], block: Block, query: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What one segment adds to the scores, and the queries as the segment before it sees them."""
    factors = _mean_factors(points, block)
    rows = len(points[0].source(Side.TRAIN).ids)
    eigenvalues = np.mean(
        [
            factors.corrected(
                point.source(Side.TRAIN).stream(gradient_name(block.name, SAMPLED)), rows
            )
            for point in points
        ],
        axis=0,
    )
    reach = sum(point.reach for point in points)
    train = np.mean(
        [point.source(Side.TRAIN).read(gradient_name(block.name)) for point in points], axis=0
    )
    turned = factors.rotate(query)
    decayed = np.exp(-reach * eigenvalues)
    small = reach * eigenvalues < 1e-12
    gain = np.where(small, reach, (1 - decayed) / np.where(small, 1.0, eigenvalues))
    solved = flat(factors.back(turned * gain))
    left = factors.back(turned * decayed).reshape(query.shape)
    return solved @ flat(train).T.astype(np.float64), left


def _mean_factors(points: Sequence[Point], block: Block) -> KroneckerFactors:
    merged = FactorSums()
    for point in points:
        if point.factors is None or block.name not in point.factors.sums:
            raise SettingError(f"no Kronecker factors of {block.name} at {point.name}.")
        left, right = point.factors.sums[block.name]
        merged.add(block.name, left, right, point.factors.tokens[block.name])
        merged.rows += point.factors.rows
    return merged.factors(block.name)
