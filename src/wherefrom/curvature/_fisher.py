"""FisherBlock: what spectral methods ask of a block's gradients, whichever form answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

import numpy as np

DampingRule = Literal["mean", "nonzero"]
Filter = Callable[[np.ndarray], np.ndarray]
"""A function of the eigenvalues of F."""


class FisherBlock(ABC):
    """One block's gradients seen through F = (1/m) Σ r_j r_jᵀ.

    r_j are the rows that curvature is made of: the training rows themselves (empirical Fisher), or
    gradients under labels drawn from the model (true Fisher = Gauss–Newton, sampled). Two forms give the
    same numbers: dual (Gram matrices, rows × rows) and primal (covariance, entries × entries).

    Attributes:
        cross: C = Q Gᵀ, queries × training rows.
        train_norms: squared norms of the training rows' gradients, (n,).
        query_norms: squared norms of the queries', (q,).
        size: p, entries of the block.
    """

    cross: np.ndarray
    train_norms: np.ndarray
    query_norms: np.ndarray
    size: int

    @property
    def rows(self) -> int:
        """n, the number of training rows."""
        return len(self.train_norms)

    @property
    @abstractmethod
    def basis_rows(self) -> int:
        """m, the number of rows that F is made of."""

    @property
    @abstractmethod
    def trace(self) -> float:
        """tr(F)."""

    @property
    @abstractmethod
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of F, ascending and not below zero, and eigenvectors of the form's own matrix."""

    @abstractmethod
    def filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·g_i for every query and training row, q × n."""

    @abstractmethod
    def self_filtered(self, f: Filter) -> np.ndarray:
        """g_i·f(F)·g_i for every training row, (n,)."""

    @abstractmethod
    def query_self_filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·q for every query, (q,)."""

    @abstractmethod
    def query_energy(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the queries' gradients lie: squared coordinates in F's eigendirections, and outside.

        Returns:
            Inside, q × directions; outside the span of the rows of F, (q,).
        """

    @abstractmethod
    def through_basis(self, weight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Σ_j w(q·r_j, ‖r_j‖²)(r_j·g_i), q × n, for a function of each product and norm."""

    @abstractmethod
    def coefficients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Queries in F's eigenbasis, with what lies outside as a last coordinate where σ = 0.

        Returns:
            Eigenvalues (d,), coordinates (q × d), and the map from coordinates to scores (d × n).
        """

    @abstractmethod
    def centred(self) -> FisherBlock:
        """The block with the training rows' mean gradient taken off training rows and queries."""

    @abstractmethod
    def scaled(self, train: np.ndarray, query: np.ndarray) -> FisherBlock:
        """The block with every training row and query multiplied by a number of its own."""

    @abstractmethod
    def whitened(self, damping: float) -> FisherBlock:
        """The block with (F + λI)^(−1/2) on both sides."""

    def unit(self) -> FisherBlock:
        """The block with training rows and queries brought to norm one; zero rows stay zero."""
        return self.scaled(inverse_norms(self.train_norms), inverse_norms(self.query_norms))

    def damping(self, rule: DampingRule, strength: float) -> float:
        """λ = c·tr(F)/p by the rule `mean`, c·tr(F)/min(m, p) by `nonzero`."""
        entries = self.size if rule == "mean" else min(self.basis_rows, self.size)
        return strength * self.trace / max(1, entries)


def inverse_norms(squared: np.ndarray) -> np.ndarray:
    """1/‖g‖ from squared norms; 0 where the norm is 0."""
    norms = np.sqrt(np.maximum(squared, 0.0))
    return np.asarray(np.divide(1.0, norms, out=np.zeros_like(norms), where=norms > 0))
