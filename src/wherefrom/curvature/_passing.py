"""Rows that pass by, a chunk at a time, seen through a curvature that was fitted before."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NoReturn

import numpy as np

from wherefrom.curvature._covariance import CovarianceBlock
from wherefrom.curvature._fisher import Filter, FisherBlock, inverse_norms
from wherefrom.errors import SettingError


class PassingRows(FisherBlock):
    """A chunk of training rows under F, its decomposition and the queries of a fitted block.

    What is asked of it is answered for these rows alone, in the precision of their values.

    Args:
        fit: the block of all rows.
        values: the rows' features as `Features.moved` leaves them, rows × p; the p unit vectors when None,
            so that a method whose score is linear in the row gives its own weights.
        factor: (rows,): what each row is multiplied by; None for 1.
    """

    def __init__(
        self, fit: CovarianceBlock, values: np.ndarray | None, factor: np.ndarray | None = None
    ) -> None:
        self.fit = fit
        self.values = values
        self.factor = factor
        self.size = fit.size

    @cached_property
    def cross(self) -> np.ndarray:  # type: ignore[override]
        """C = Q Gᵀ, q × rows."""
        return self._times(self.fit.query)

    @cached_property
    def train_norms(self) -> np.ndarray:  # type: ignore[override]
        """Squared norms of the rows."""
        if self.values is None:
            return np.ones(self.size)
        norms = np.einsum("np,np->n", self.values, self.values)
        return np.asarray(norms if self.factor is None else norms * self.factor**2)

    @property
    def query_norms(self) -> np.ndarray:  # type: ignore[override]
        """Squared norms of the queries, (q,)."""
        return self.fit.query_norms

    @property
    def basis_rows(self) -> int:
        """m, the number of rows that F is made of."""
        return self.fit.basis_rows

    @property
    def trace(self) -> float:
        """tr(F)."""
        return self.fit.trace

    @property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of F, ascending and not below zero, and its eigenvectors, p × p."""
        return self.fit.spectrum

    def filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·g_i for every query and row, q × rows."""
        sigma, vectors = self.spectrum
        return self._times((self.fit.turned_query * f(sigma)) @ vectors.T)

    def self_filtered(self, f: Filter) -> np.ndarray:
        """g_i·f(F)·g_i for every row."""
        return np.asarray(self._rotated**2 @ f(self.spectrum[0]).astype(self._rotated.dtype))

    def query_self_filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·q for every query, (q,)."""
        return self.fit.query_self_filtered(f)

    def query_energy(self) -> tuple[np.ndarray, np.ndarray]:
        """Squared coordinates of the queries in F's eigendirections (q × p), and outside: none."""
        return self.fit.query_energy()

    def coefficients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues, queries' coordinates with an empty last one, and the map to scores."""
        rest = np.zeros((len(self.fit.query), 1))
        query = np.hstack([self.fit.turned_query, rest])
        return np.append(self.spectrum[0], 0.0), query, self._rotated.T

    def through_basis(self, weight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Σ_j w(q·r_j, ‖r_j‖²)(r_j·g_i), q × rows; reads all rows of F."""
        return self._times(self.fit.weighted_basis(weight))

    def unit(self) -> PassingRows:
        """The rows and queries brought to norm one; products are those that were made already."""
        inverse = inverse_norms(self.train_norms).astype(self.train_norms.dtype)
        factor = inverse if self.factor is None else inverse * self.factor
        found = PassingRows(self.fit.unit(), self.values, factor)
        if self.values is not None:
            query = inverse_norms(self.query_norms).astype(inverse.dtype)
            found.cross = self.cross * inverse[None, :]
            found.cross *= query[:, None]
        return found

    def centred(self) -> NoReturn:
        """Refused: the mean is that of all rows."""
        raise self._refused("centred")

    def scaled(self, train: np.ndarray, query: np.ndarray) -> NoReturn:
        """Refused: F would be of rows that are scaled too."""
        raise self._refused("scaled")

    def whitened(self, damping: float) -> NoReturn:
        """Refused: F would be of rows that are whitened too."""
        raise self._refused("whitened")

    def _refused(self, what: str) -> SettingError:
        return SettingError(
            f"this method asks for {what} gradients itself, which takes all rows at once. Score it with "
            "all rows in memory, or let a modifier (centre, whiten, normalise) do it."
        )

    @cached_property
    def _rotated(self) -> np.ndarray:
        return self._times(self.spectrum[1].T).T

    def _times(self, matrix: np.ndarray) -> np.ndarray:
        """Matrix (m × p) times the rows, m × rows."""
        if self.values is None:
            return matrix
        found = self.values @ matrix.T.astype(self.values.dtype)
        if self.factor is not None:
            found *= self.factor[:, None].astype(found.dtype)
        return np.asarray(found.T)
