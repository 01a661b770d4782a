"""For-Value: rows compared by their gradients at the output layer, from the forward pass alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.curvature import inverse_norms
from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Method
from wherefrom.methods._registry import method
from wherefrom.signals import TOKEN_ERROR, Kind, Need, Side, both

_ROWS = 64


@method("for_value")
@dataclass(frozen=True)
class ForValue(DirectMethod):
    """For-Value: ⟨M_i, M_q⟩ of M = Σ_t (p_t − e_{y_t}) h_tᵀ over the counted tokens (2508.10180).

    M is the row's loss gradient at the output layer, so the dot product is what a step on the training
    row takes off the query's loss through that layer; both sides have the same sign, so higher = pushed
    more towards the query's response. With the recipe's mean, M is the mean over tokens.

    Where we differ: the paper adds up ⟨e_t, e_s⟩⟨h_t, h_s⟩ over all pairs of tokens, which is the same
    number; M is seen here through a random projection of the vocabulary to k rows, so that a row is held
    once and met by any query. That moves an inner product by a standard deviation of at most
    √(2/k)·‖M_i‖‖M_q‖; a vocabulary of at most k tokens is exact. The cosine is the default, because the
    paper's dot product favours rows with large errors: surprising or, with a summed loss, long ones.

    Attributes:
        similarity: `cosine`, or `dot` as in the paper.
    """

    family: ClassVar[str] = "forward"
    paper: ClassVar[str] = "2508.10180"
    unit: ClassVar[str] = "cosine, −1 to 1; squared gradient where similarity=dot"
    similarity: str = "cosine"

    def __post_init__(self) -> None:
        if self.similarity not in ("cosine", "dot"):
            raise SettingError(
                f"{self.name}: similarity must be cosine or dot, not {self.similarity!r}."
            )

    @property
    def needs(self) -> frozenset[Need]:
        """Token errors."""
        return both(Kind.ERROR)

    @classmethod
    def variants(cls) -> list[Method]:
        """The cosine, and the dot product as published."""
        return [cls(), cls(similarity="dot")]

    def score(self, evidence: Evidence) -> np.ndarray:
        """Products or cosines, queries × training rows; cosines are 0 where a row's M is zero."""
        query = evidence.final.source(Side.QUERY).read(TOKEN_ERROR)
        source = evidence.final.source(Side.TRAIN)
        scores = np.zeros((len(query), len(source.ids)))
        # M of a row is about a megabyte: only a few rows of either side are in float64 at a time
        for numbers, values in source.stream(TOKEN_ERROR):
            for columns, train in self._slices(values):
                for rows, part in self._slices(query):
                    scores[rows, numbers[columns]] = part @ train.T
        return scores

    def _slices(self, values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        for start in range(0, len(values), _ROWS):
            at = slice(start, start + _ROWS)
            part = values[at].reshape(len(values[at]), -1).astype(np.float64)
            if self.similarity == "cosine":
                part *= inverse_norms(np.einsum("ij,ij->i", part, part))[:, None]
            yield at, part
