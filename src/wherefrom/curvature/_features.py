"""Rows of gradients that are read a chunk at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wherefrom.curvature._fisher import inverse_norms

_MANY = 10_000
_TOGETHER = 1024
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
        scale: (rows,): what each row is multiplied by then; None for 1.
        unit: bring every row to norm one in the end; zero rows stay zero.
    """

    chunks: Chunks
    rows: int
    size: int
    centre: np.ndarray | None = None
    turn: np.ndarray | None = None
    scale: np.ndarray | None = None
    unit: bool = False

    @classmethod
    def of(cls, values: np.ndarray) -> Features:
        """Rows that are in memory."""
        return cls(lambda: iter([(np.arange(len(values)), values)]), *values.shape)

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and their features, float64."""
        return self._read(np.float64)

    def _read(self, precision: type[np.floating[Any]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows, raw in self.chunks():
            values = self.moved(np.asarray(raw, precision).reshape(len(rows), self.size))
            factor = self.factor(rows, values)
            yield rows, values if factor is None else values * factor[:, None]

    @property
    def width(self) -> int:
        """p', entries of a row after the change."""
        return self.size if self.turn is None else self.turn.shape[1]

    def moved(self, values: np.ndarray) -> np.ndarray:
        """Raw rows less the centre, turned; neither scaled nor brought to norm one."""
        if self.centre is not None:
            values = values - self.centre.astype(values.dtype)
        return values if self.turn is None else values @ self.turn.astype(values.dtype)

    def factor(self, rows: np.ndarray, moved: np.ndarray) -> np.ndarray | None:
        """What rows are multiplied by after they were moved, (rows,) in their precision; None for 1."""
        if self.unit:
            return inverse_norms(np.einsum("np,np->n", moved, moved)).astype(moved.dtype)
        return None if self.scale is None else self.scale[rows].astype(moved.dtype)

    def any(self) -> bool:
        """Whether a feature is not zero; reads no further than the first chunk that has one."""
        return any(bool(values.any()) for _, values in self)

    def mean(self) -> np.ndarray:
        """Mean of the rows, (p,)."""
        return np.asarray(sum(values.sum(0) for _, values in self) / self.rows)

    def covariance(self) -> np.ndarray:
        """(1/n) Σ rows rowsᵀ, p × p, float64.

        Of very many rows, products of a thousand at a time are made in float32 and added up in float64:
        their rounding is as often up as down, so that over many products it is less than what
        float32 rows bring with them.
        """
        if self.rows < _MANY:
            return np.asarray(sum(values.T @ values for _, values in self) / self.rows)
        found = np.zeros((self.width, self.width))
        for _, values in self._read(np.float32):
            for start in range(0, len(values), _TOGETHER):
                some = values[start : start + _TOGETHER]
                found += some.T @ some
        return found / self.rows

    def mean_square(self) -> float:
        """Mean squared norm of the rows: the trace of their covariance."""
        return float(sum(np.einsum("np,np->", v, v) for _, v in self) / max(1, self.rows))

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

    def centred(self, mean: np.ndarray) -> Features:
        """Less a mean; it comes before every other change.

        Raises:
            ValueError: it does not.
        """
        if self.turn is not None or self.scale is not None or self.unit:
            raise ValueError("centring comes before whitening and scaling")
        return replace(self, centre=mean if self.centre is None else self.centre + mean)

    def turned(self, matrix: np.ndarray) -> Features:
        """Times a matrix (p × p'); it comes before scaling.

        Raises:
            ValueError: it does not.
        """
        if self.scale is not None or self.unit:
            raise ValueError("whitening comes before scaling")
        return replace(self, turn=matrix if self.turn is None else self.turn @ matrix)

    def scaled(self, factors: np.ndarray) -> Features:
        """Every row times a number of its own, (rows,).

        Raises:
            ValueError: the rows have norm one already.
        """
        if self.unit:
            raise ValueError("scaling comes before the unit norm")
        return replace(self, scale=factors if self.scale is None else self.scale * factors)
