"""RepT: hidden state and its loss gradient, end to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.curvature import inverse_norms
from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Method
from wherefrom.methods._registry import method
from wherefrom.signals import STATE_GRADIENT, Kind, Need, both, hidden_name


@method("rept")
@dataclass(frozen=True)
class RepT(DirectMethod):
    """RepT: cosine of [h ; ∂loss/∂h] at the last prompt token, at one layer (2510.02334).

    The last prompt token is the position that predicts the first response token, so its state is what
    the answer starts from and its gradient is where the loss of the whole answer wants that state to go.
    Both sides are of one sign: a row whose state and gradient point where the query's do pushed towards
    the query's response.

    Joined raw, the longer half decides. A state is often far longer than a gradient, and the gradient's
    length follows the recipe's reduction (a sum is longer than a mean), so raw scores can come close to
    RepSim's; `halves=unit` gives both halves an equal say.

    Where we differ: the paper finds a layer for each task on a probing set and its code defaults to the
    last; without a probing set we take the middle one.

    Attributes:
        layer: 0 is the embedding, −1 the last layer after its norm; none: the middle, layers // 2.
        halves: `raw` joins state and gradient as they are (paper); `unit` brings each to unit norm first.
    """

    family: ClassVar[str] = "representation"
    paper: ClassVar[str] = "2510.02334"
    unit: ClassVar[str] = "cosine, −1 to 1"
    layer: int | None = None
    halves: str = "raw"

    def __post_init__(self) -> None:
        if self.halves not in ("raw", "unit"):
            raise SettingError(f"{self.name}: halves must be raw or unit, not {self.halves!r}.")

    @property
    def needs(self) -> frozenset[Need]:
        """Hidden states and the loss's gradient with respect to them."""
        return both(Kind.HIDDEN) | both(Kind.STATE_GRADIENT)

    @classmethod
    def variants(cls) -> list[Method]:
        """Joined as published, and with both halves of one length."""
        return [cls(), cls(halves="unit")]

    def score(self, evidence: Evidence) -> np.ndarray:
        """Cosines, queries × training rows; 0 where a row's state and gradient are both zero."""
        halves = [evidence.read(hidden_name("last_prompt")), evidence.read(STATE_GRADIENT)]
        layer = self._layer(halves[0][0].shape[1])
        train, query = (
            _unit(np.concatenate([self._half(half[side][:, layer]) for half in halves], 1))
            for side in (0, 1)
        )
        return np.asarray(query @ train.T)

    def _layer(self, states: int) -> int:
        if self.layer is None:
            return (states - 1) // 2
        if not -states <= self.layer < states:
            raise SettingError(
                f"{self.name}: layer {self.layer} is not among 0 to {states - 1}; none is the middle."
            )
        return self.layer

    def _half(self, rows: np.ndarray) -> np.ndarray:
        values = rows.astype(np.float64)
        return _unit(values) if self.halves == "unit" else values


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows * inverse_norms((rows**2).sum(1))[:, None])
