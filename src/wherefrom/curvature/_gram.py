"""Gram matrices: everything that empirical-Fisher methods need of a block's gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import scipy.linalg

from wherefrom.data import Recipe

Filter = Callable[[np.ndarray], np.ndarray]
"""A function of the eigenvalues of F = (1/n) Σ g_i g_iᵀ."""


class GramBlock:
    """One block's gradients seen through inner products.

    With G (n × p) the training rows' gradients and Q (q × p) the queries', K = G Gᵀ, C = Q Gᵀ and
    D = diag(Q Qᵀ) determine every method built on the empirical Fisher F = GᵀG/n: for any function f,
    q·f(F)·g_i = [C U f(σ) Uᵀ]_i where K/n = U σ Uᵀ (METHODS: the Gram identity). Products and the
    decomposition are in float64.

    Args:
        gram: K, n × n.
        cross: C, q × n.
        query_norms: D, squared norms of the queries' gradients, (q,).
        size: p, entries of the block.
    """

    def __init__(
        self, gram: np.ndarray, cross: np.ndarray, query_norms: np.ndarray, size: int
    ) -> None:
        self.gram = gram
        self.cross = cross
        self.query_norms = query_norms
        self.size = size

    @classmethod
    def of(cls, train: np.ndarray, query: np.ndarray) -> GramBlock:
        """From gradients: training rows × p and queries × p."""
        g = np.asarray(train, dtype=np.float64)
        q = np.asarray(query, dtype=np.float64)
        return cls(g @ g.T, q @ g.T, np.einsum("qp,qp->q", q, q), g.shape[1])

    def __add__(self, other: GramBlock) -> GramBlock:
        """The Gram matrices of both blocks' gradients put end to end."""
        return GramBlock(
            self.gram + other.gram,
            self.cross + other.cross,
            self.query_norms + other.query_norms,
            self.size + other.size,
        )

    @property
    def rows(self) -> int:
        """n, the number of training rows."""
        return len(self.gram)

    @property
    def trace(self) -> float:
        """tr(F), the mean squared norm of the training rows' gradients."""
        return float(np.trace(self.gram)) / max(1, self.rows)

    @property
    def train_norms(self) -> np.ndarray:
        """Squared norms of the training rows' gradients, (n,)."""
        return np.diagonal(self.gram)

    def damping(self, recipe: Recipe, strength: float | None = None) -> float:
        """λ of the block by the recipe's rule, with another strength c if given."""
        c = recipe.damping if strength is None else strength
        entries = self.size if recipe.damping_rule == "mean" else min(self.rows, self.size)
        return c * self.trace / max(1, entries)

    @cached_property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues σ of K/n, ascending and not below zero, and eigenvectors U (n × n)."""
        values, vectors = scipy.linalg.eigh(self.gram / max(1, self.rows), driver="evd")
        return np.maximum(values, 0.0), vectors

    def filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·g_i for every query and training row, q × n."""
        sigma, vectors = self.spectrum
        return np.asarray(((self.cross @ vectors) * f(sigma)) @ vectors.T)

    def self_filtered(self, f: Filter) -> np.ndarray:
        """g_i·f(F)·g_i for every training row, (n,)."""
        sigma, vectors = self.spectrum
        return np.asarray((vectors**2) @ (sigma * f(sigma)) * self.rows)

    def query_energy(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the queries' gradients lie: squared coordinates in F's eigendirections, and outside.

        Returns:
            Inside, q × n, by eigendirection; outside the span of the training rows, (q,).
        """
        sigma, vectors = self.spectrum
        floor = 1e-12 * max(float(sigma.max(initial=0.0)), 1e-300)
        coordinates = (self.cross @ vectors) ** 2 / (self.rows * np.maximum(sigma, floor))
        inside = np.where(sigma > floor, coordinates, 0.0)
        return inside, np.maximum(self.query_norms - inside.sum(1), 0.0)
