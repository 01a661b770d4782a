"""The full training gradient at several states, known by its products alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.signals import Source, gradient_name


@dataclass(frozen=True)
class FullGradients:
    """Gradients of the mean training loss at several states.

    Attributes:
        products: float64, states × states: ⟨ḡ_s, ḡ_t⟩ of the mean ḡ of all rows' gradients.
        row_norms: float64, states × rows: ‖g_i‖.
        onward: float64, states: cosine of −ḡ_s with the way that the weights still went, W_last − W_s;
            NaN where either is 0 or the weights are not known.
    """

    products: np.ndarray
    row_norms: np.ndarray
    onward: np.ndarray

    @property
    def norms(self) -> np.ndarray:
        """‖ḡ_s‖, (states,)."""
        return np.asarray(np.sqrt(np.diag(self.products)))

    @property
    def coherence(self) -> np.ndarray:
        """‖ḡ_s‖ over the root mean square of the rows' norms, (states,).

        0 at a minimum of the training loss, where the rows' gradients cancel; about 1/√rows where they
        point in unrelated directions; 1 where they are all alike.
        """
        return _ratio(self.norms, np.sqrt((self.row_norms**2).mean(axis=1)))

    def cosine(self, first: int, second: int) -> float:
        """Cosine of the full gradients at two states; NaN where one vanishes."""
        sizes = self.norms[first] * self.norms[second]
        return float(np.clip(_ratio(self.products[first, second], sizes), -1.0, 1.0))


def full_gradients(
    sources: Sequence[Source], weights: Sequence[Mapping[str, np.ndarray]] | None = None
) -> FullGradients:
    """The full gradients of states, one block of all states in memory at a time.

    Args:
        sources: of each state, its training rows' loss gradients.
        weights: of each state, its trained weights by the blocks' names; the last ones are those that
            training arrived at.
    """
    states, rows = len(sources), len(sources[0].ids)
    products = np.zeros((states, states))
    squares = np.zeros((states, rows))
    along, way = np.zeros(states), np.zeros(states)
    for block in sources[0].blocks:
        means = np.zeros((states, block.size))
        for state, source in enumerate(sources):
            for numbers, values in source.stream(gradient_name(block.name)):
                flat = np.asarray(values, dtype=np.float64).reshape(len(numbers), -1)
                means[state] += flat.sum(axis=0)
                squares[state, numbers] += (flat**2).sum(axis=1)
        means /= rows
        products += means @ means.T
        if weights is None:
            continue
        for state, held in enumerate(weights):
            left = weights[-1][block.name].astype(np.float64) - held[block.name]
            along[state] -= means[state] @ left.ravel()
            way[state] += (left**2).sum()
    norms = np.sqrt(np.diag(products))
    return FullGradients(products, np.sqrt(squares), _ratio(along, norms * np.sqrt(way)))


def _ratio(above: np.ndarray | float, below: np.ndarray | float) -> np.ndarray:
    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    empty = np.full(np.shape(below), np.nan)
    return np.asarray(np.divide(above, below, out=empty, where=below > 0))
