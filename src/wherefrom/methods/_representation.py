"""Representation similarity: the cosine of hidden states (RepSim)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Method, Trait
from wherefrom.methods._registry import method
from wherefrom.signals import POOLS, Kind, Need, both, hidden_name


@method("repsim")
@dataclass(frozen=True)
class RepSim(DirectMethod):
    """Cosine of hidden states (arXiv 2409.19998; the paper reads the last prompt token, last layer).

    Attributes:
        position: `last_prompt`, or the mean over the prompt, the response, or all tokens:
            `mean_prompt`, `mean_response`, `mean_all`.
        layer: 0 is the embedding, −1 the last layer after its norm.
        centre: subtract the training rows' mean first, on both sides.
    """

    family: ClassVar[str] = "representation"
    paper: ClassVar[str] = "2409.19998"
    unit: ClassVar[str] = "cosine, −1 to 1"
    position: str = "last_prompt"
    layer: int = -1
    centre: bool = False

    def __post_init__(self) -> None:
        if self.position not in POOLS:
            raise SettingError(
                f"repsim: position must be one of {', '.join(POOLS)}, not {self.position!r}."
            )

    @property
    def needs(self) -> frozenset[Need]:
        """Hidden states."""
        return both(Kind.HIDDEN)

    @property
    def traits(self) -> frozenset[Trait]:
        """States of the prompt say nothing of the response."""
        blind = self.position in ("last_prompt", "mean_prompt")
        return frozenset({Trait.RESPONSE_BLIND}) if blind else frozenset()

    @classmethod
    def variants(cls) -> list[Method]:
        """Every position at the last layer, and the paper's position centred."""
        return [*(cls(position=pool) for pool in POOLS), cls(centre=True)]

    def score(self, evidence: Evidence) -> np.ndarray:
        """Cosine of the chosen states."""
        train, query = evidence.read(hidden_name(self.position))
        layers = train.shape[1]
        if not -layers <= self.layer < layers:
            raise SettingError(f"repsim: layer {self.layer} is not among 0 to {layers - 1}.")
        t = train[:, self.layer].astype(np.float64)
        q = query[:, self.layer].astype(np.float64)
        if self.centre:
            mean = t.mean(0)
            t, q = t - mean, q - mean
        return np.asarray(_unit(q) @ _unit(t).T)


def _unit(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0))
