"""The primal form: a covariance of entries × entries, gradients streamed a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np

from wherefrom.curvature._features import Features
from wherefrom.curvature._fisher import Filter, FisherBlock, inverse_norms

_ROTATED = 2e7
"""Entries of rotated training rows that are kept."""


class CovarianceBlock(FisherBlock):
    """A block's gradients through F itself, p × p; memory does not grow with the training rows.

    The form for small blocks and many rows, and for projected gradients.

    Args:
        train: training rows.
        query: queries' gradients, q × p, float64.
        basis: rows of F where they are not the training rows.
    """

    def __init__(self, train: Features, query: np.ndarray, basis: Features | None = None) -> None:
        self.train = train
        self.query = np.asarray(query, dtype=np.float64)
        self.other = basis
        self.size = self.query.shape[1]
        self._shares: CovarianceBlock | None = None

    @classmethod
    def of(
        cls, train: np.ndarray, query: np.ndarray, basis: np.ndarray | None = None
    ) -> CovarianceBlock:
        """From gradients in memory, rows × p each."""
        other = None if basis is None else Features.of(basis)
        return cls(Features.of(train), query, other)

    def asked(self, query: np.ndarray) -> CovarianceBlock:
        """The block under other queries (q × p): rows, curvature and its decomposition are shared."""
        found = CovarianceBlock(self.train, query, self.other)
        found._shares = self
        return found

    @property
    def basis(self) -> Features:
        """Rows of F."""
        return self.train if self.other is None else self.other

    @property
    def rows(self) -> int:
        """n, the number of training rows."""
        return self.train.rows

    @property
    def basis_rows(self) -> int:
        """m, the number of rows that F is made of."""
        return self.basis.rows

    @cached_property
    def cross(self) -> np.ndarray:  # type: ignore[override]
        """C = Q Gᵀ, q × n."""
        return np.asarray(self.train.times(self.query.T).T)

    @cached_property
    def train_norms(self) -> np.ndarray:  # type: ignore[override]
        """Squared norms of the training rows, (n,)."""
        return self.train.norms()

    @cached_property
    def query_norms(self) -> np.ndarray:  # type: ignore[override]
        """Squared norms of the queries, (q,)."""
        return np.asarray(np.einsum("qp,qp->q", self.query, self.query))

    @cached_property
    def covariance(self) -> np.ndarray:
        """F, p × p."""
        return self.basis.covariance() if self._shares is None else self._shares.covariance

    @property
    def trace(self) -> float:
        """tr(F); the covariance itself is not made for it."""
        if self._shares is not None:
            return self._shares.trace
        if "covariance" in self.__dict__:
            return float(np.trace(self.covariance))
        return self._mean_square

    @cached_property
    def _mean_square(self) -> float:
        return self.basis.mean_square()

    @cached_property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of F, ascending and not below zero, and its eigenvectors, p × p."""
        if self._shares is not None:
            return self._shares.spectrum
        values, vectors = np.linalg.eigh(self.covariance)
        return np.maximum(values, 0.0), vectors

    @cached_property
    def turned_query(self) -> np.ndarray:
        """Queries in F's eigenbasis, once for all methods."""
        return np.asarray(self.query @ self.spectrum[1])

    @cached_property
    def _rotated(self) -> np.ndarray | None:
        """Training rows in F's eigenbasis, once for all methods; None where they would fill memory."""
        if self._shares is not None:
            return self._shares._rotated
        if self.rows * self.size > _ROTATED:
            return None
        return self.train.times(self.spectrum[1])

    def filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·g_i for every query and training row, q × n."""
        sigma, vectors = self.spectrum
        turned = self.turned_query * f(sigma)
        if self._rotated is not None:
            return np.asarray(turned @ self._rotated.T)
        return self.train.times((turned @ vectors.T).T).T

    def self_filtered(self, f: Filter) -> np.ndarray:
        """g_i·f(F)·g_i for every training row, (n,)."""
        sigma, vectors = self.spectrum
        if self._rotated is not None:
            return np.asarray(self._rotated**2 @ f(sigma))
        return self.train.quadratic(vectors, f(sigma))

    def query_self_filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·q for every query, (q,)."""
        return np.asarray(self.turned_query**2 @ f(self.spectrum[0]))

    def query_energy(self) -> tuple[np.ndarray, np.ndarray]:
        """Squared coordinates of the queries in F's eigendirections (q × p), and outside: none."""
        return self.turned_query**2, np.zeros(len(self.query))

    def coefficients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues, queries' coordinates with an empty last one, and the map to scores."""
        sigma, vectors = self.spectrum
        rest = np.zeros((len(self.query), 1))
        query = np.hstack([self.turned_query, rest])
        return np.append(sigma, 0.0), query, self.train.times(vectors).T

    def through_basis(self, weight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Σ_j w(q·r_j, ‖r_j‖²)(r_j·g_i), q × n."""
        return self.train.times(self.weighted_basis(weight).T).T

    def weighted_basis(self, weight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Σ_j w(q·r_j, ‖r_j‖²) r_j, q × p."""
        found = np.zeros_like(self.query)
        for _, values in self.basis:
            norms = np.einsum("np,np->n", values, values)
            found += weight(self.query @ values.T, norms) @ values
        return found

    def centred(self) -> CovarianceBlock:
        """The block with the training rows' mean taken off both sides; F's own rows by their own."""
        mean = self.train.mean()
        other = None if self.other is None else self.other.centred(self.other.mean())
        return CovarianceBlock(self.train.centred(mean), self.query - mean, other)

    def scaled(self, train: np.ndarray, query: np.ndarray) -> CovarianceBlock:
        """The block with every training row and query multiplied by a number of its own."""
        return CovarianceBlock(self.train.scaled(train), self.query * query[:, None], self.other)

    def unit(self) -> CovarianceBlock:
        """The block with training rows and queries brought to norm one, row by row as they are read."""
        return self._unit

    @cached_property
    def _unit(self) -> CovarianceBlock:
        query = self.query * inverse_norms(self.query_norms)[:, None]
        return CovarianceBlock(replace(self.train, unit=True), query, self.other)

    def whitened(self, damping: float) -> CovarianceBlock:
        """The block with (F + λI)^(−1/2) on both sides."""
        sigma, vectors = self.spectrum
        root = (vectors / np.sqrt(sigma + damping)) @ vectors.T
        return CovarianceBlock(self.train.turned(root), self.query @ root)
