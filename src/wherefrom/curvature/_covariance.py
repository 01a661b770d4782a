"""The primal form: a covariance of entries × entries, gradients streamed a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.linalg

from wherefrom.curvature._fisher import Filter, FisherBlock

_ROTATED = 2e7
"""Entries of rotated training rows that are kept."""
Chunks = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]
"""Gives row numbers and gradients (rows × p), a chunk at a time, anew at every call."""


@dataclass(frozen=True)
class Features:
    """Rows of gradients that are read a chunk at a time, after an affine change that all share.

    Attributes:
        chunks: where the raw rows come from.
        rows: how many.
        size: p of the raw rows.
        centre: taken off every row; (p,) or None.
        turn: p × p', applied after that; None for the identity.
        scale: (rows,): what each row is multiplied by in the end; None for 1.
    """

    chunks: Chunks
    rows: int
    size: int
    centre: np.ndarray | None = None
    turn: np.ndarray | None = None
    scale: np.ndarray | None = None

    @classmethod
    def of(cls, values: np.ndarray) -> Features:
        """Rows that are in memory."""
        return cls(lambda: iter([(np.arange(len(values)), values)]), *values.shape)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and their features, float64."""
        for rows, raw in self.chunks():
            values = np.asarray(raw, dtype=np.float64).reshape(len(rows), self.size)
            values = values if self.centre is None else values - self.centre
            values = values if self.turn is None else values @ self.turn
            yield rows, values if self.scale is None else values * self.scale[rows, None]

    def mean(self) -> np.ndarray:
        """Mean of the rows, (p,)."""
        return np.asarray(sum(values.sum(0) for _, values in self) / self.rows)

    def covariance(self) -> np.ndarray:
        """(1/n) Σ rows rowsᵀ, p × p."""
        return np.asarray(sum(values.T @ values for _, values in self) / self.rows)

    def times(self, matrix: np.ndarray) -> np.ndarray:
        """Rows @ matrix, n × columns."""
        found = np.zeros((self.rows, matrix.shape[1]))
        for rows, values in self:
            found[rows] = values @ matrix
        return found

    def quadratic(self, matrix: np.ndarray, f: np.ndarray) -> np.ndarray:
        """Σ_k f_k (row·m_k)² for every row, m_k the columns of the matrix; (n,)."""
        found = np.zeros(self.rows)
        for rows, values in self:
            found[rows] = (values @ matrix) ** 2 @ f
        return found

    def norms(self) -> np.ndarray:
        """Squared norms, (n,)."""
        found = np.zeros(self.rows)
        for rows, values in self:
            found[rows] = np.einsum("np,np->n", values, values)
        return found


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
        """tr(F)."""
        return float(np.trace(self.covariance))

    @cached_property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of F, ascending and not below zero, and its eigenvectors, p × p."""
        if self._shares is not None:
            return self._shares.spectrum
        values, vectors = scipy.linalg.eigh(self.covariance, driver="evd")
        return np.maximum(values, 0.0), vectors

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
        turned = (self.query @ vectors) * f(sigma)
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
        sigma, vectors = self.spectrum
        return np.asarray((self.query @ vectors) ** 2 @ f(sigma))

    def query_energy(self) -> tuple[np.ndarray, np.ndarray]:
        """Squared coordinates of the queries in F's eigendirections (q × p), and outside: none."""
        _, vectors = self.spectrum
        return (self.query @ vectors) ** 2, np.zeros(len(self.query))

    def coefficients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues, queries' coordinates with an empty last one, and the map to scores."""
        sigma, vectors = self.spectrum
        coordinates = self.query @ vectors
        rest = np.zeros((len(self.query), 1))
        return np.append(sigma, 0.0), np.hstack([coordinates, rest]), self.train.times(vectors).T

    def through_basis(self, weight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Σ_j w(q·r_j, ‖r_j‖²)(r_j·g_i), q × n."""
        found = np.zeros_like(self.query)
        for _, values in self.basis:
            norms = np.einsum("np,np->n", values, values)
            found += weight(self.query @ values.T, norms) @ values
        return self.train.times(found.T).T

    def centred(self) -> CovarianceBlock:
        """The block with the training rows' mean taken off both sides; F's own rows by their own."""
        mean = self.train.mean()
        other = None if self.other is None else _centred(self.other, self.other.mean())
        return CovarianceBlock(_centred(self.train, mean), self.query - mean, other)

    def scaled(self, train: np.ndarray, query: np.ndarray) -> CovarianceBlock:
        """The block with every training row and query multiplied by a number of its own."""
        held = self.train.scale
        scale = train if held is None else held * train
        rows = replace(self.train, scale=scale)
        return CovarianceBlock(rows, self.query * query[:, None], self.other)

    def whitened(self, damping: float) -> CovarianceBlock:
        """The block with (F + λI)^(−1/2) on both sides."""
        sigma, vectors = self.spectrum
        root = (vectors / np.sqrt(sigma + damping)) @ vectors.T
        return CovarianceBlock(_turned(self.train, root), self.query @ root)


def _centred(rows: Features, mean: np.ndarray) -> Features:
    if rows.turn is not None or rows.scale is not None:
        raise ValueError("centring comes before whitening and scaling")
    centre = mean if rows.centre is None else rows.centre + mean
    return replace(rows, centre=centre)


def _turned(rows: Features, matrix: np.ndarray) -> Features:
    if rows.scale is not None:
        raise ValueError("whitening comes before scaling")
    turn = matrix if rows.turn is None else rows.turn @ matrix
    return replace(rows, turn=turn)
