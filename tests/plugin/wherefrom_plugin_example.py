from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.methods import BlockEvidence, BlockMethod, Sums


@dataclass(frozen=True)
class PowerCosine(BlockMethod):
    """Mean over weight matrices of the gradients' cosine to an odd power: faint likeness fades."""

    name: ClassVar[str] = "power_cosine"
    family: ClassVar[str] = "gradient"
    unit: ClassVar[str] = "cosine to a power, −1 to 1"
    power: int = 3

    def contribution(self, block: BlockEvidence) -> Sums:
        return {"score": block.fisher.unit().cross ** self.power}

    def finish(self, sums: Sums, blocks: int) -> np.ndarray:
        return sums["score"] / blocks
