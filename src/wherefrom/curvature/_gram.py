"""The dual form: everything follows from inner products between rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from wherefrom.curvature._fisher import Filter, FisherBlock


class GramBlock(FisherBlock):
    """A block's gradients through their Gram matrices.

    With the empirical Fisher F = GᵀG/n and K/n = U σ Uᵀ, q·f(F)·g_i = [C U f(σ) Uᵀ]_i for any f (METHODS:
    the Gram identity). With F of other rows R, f(F) = f(0)·I + Rᵀ U [(f(σ) − f(0))/(mσ)] Uᵀ R. Products
    and decompositions are in float64.

    Args:
        gram: K = G Gᵀ, n × n, or what makes it when it is first asked for.
        cross: C = Q Gᵀ, q × n.
        query_norms: squared norms of the queries' gradients, (q,).
        size: p, entries of the block.
        basis: of another F = RᵀR/m: R Rᵀ (m × m), Q Rᵀ (q × m) and G Rᵀ (n × m); None where R = G.
        train_norms: squared norms of the training rows' gradients, (n,); K's diagonal when None.
    """

    def __init__(
        self,
        gram: np.ndarray | Callable[[], np.ndarray],
        cross: np.ndarray,
        query_norms: np.ndarray,
        size: int,
        basis: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        train_norms: np.ndarray | None = None,
    ) -> None:
        self._gram = gram
        self._train_norms = train_norms
        self.cross = cross
        self.query_norms = query_norms
        self.size = size
        self.basis = basis
        self._shares: GramBlock | None = None

    @classmethod
    def of(cls, train: np.ndarray, query: np.ndarray, basis: np.ndarray | None = None) -> GramBlock:
        """From gradients, rows × p each; `basis` are the rows of F where they are not `train`."""
        g = np.asarray(train, dtype=np.float64)
        q = np.asarray(query, dtype=np.float64)
        other = None
        if basis is not None:
            r = np.asarray(basis, dtype=np.float64)
            other = (r @ r.T, q @ r.T, g @ r.T)
        norms = [np.einsum("np,np->n", rows, rows) for rows in (g, q)]
        # K costs n/q times what C does, and inner products and cosines do without it
        return cls(lambda: g @ g.T, q @ g.T, norms[1], g.shape[1], other, norms[0])

    @classmethod
    def of_rows(cls, train: np.ndarray, basis: np.ndarray | None = None) -> GramBlock:
        """From training gradients, n × p, and F's own rows, let go once K is made; queries by `asked`."""

        def gram() -> np.ndarray:
            g = np.asarray(train, dtype=np.float64)
            return g @ g.T

        other = None
        if basis is not None:
            r = np.asarray(basis, dtype=np.float64)
            other = (r @ r.T, np.zeros((0, len(r))), np.asarray(train, dtype=np.float64) @ r.T)
        norms = np.einsum("np,np->n", train, train, dtype=np.float64)
        nobody = np.zeros(0)
        return cls(gram, np.zeros((0, len(train))), nobody, train.shape[1], other, norms)

    @cached_property
    def gram(self) -> np.ndarray:
        """K = G Gᵀ, n × n."""
        if callable(self._gram):
            self._gram = self._gram()
        return self._gram

    @cached_property
    def train_norms(self) -> np.ndarray:  # type: ignore[override]
        """Squared norms of the training rows' gradients, (n,)."""
        return np.diagonal(self.gram) if self._train_norms is None else self._train_norms

    def asked(
        self, train: np.ndarray, query: np.ndarray, basis: np.ndarray | None = None
    ) -> GramBlock:
        """The block under other queries: rows, curvature and its decomposition are shared.

        Args:
            train: the training rows' gradients that the block was made from, n × p.
            query: the other queries' gradients, q × p.
            basis: F's own rows, m × p, where they are others.

        Raises:
            ValueError: F is of other rows, which were not given.
        """
        q = np.asarray(query, dtype=np.float64)
        other = None
        if self.basis is not None:
            if basis is None:
                raise ValueError("the products with F's own rows are missing")
            own, _, with_train = self.basis
            other = (own, q @ np.asarray(basis, dtype=np.float64).T, with_train)
        cross = q @ np.asarray(train, dtype=np.float64).T
        norms = np.einsum("qp,qp->q", q, q)
        found = GramBlock(lambda: self.gram, cross, norms, self.size, other, self.train_norms)
        found._shares = self
        return found

    def __add__(self, other: GramBlock) -> GramBlock:
        """The Gram matrices of both blocks' gradients put end to end."""
        basis = None
        if self.basis is not None and other.basis is not None:
            first, second, third = (a + b for a, b in zip(self.basis, other.basis, strict=True))
            basis = (first, second, third)
        return GramBlock(
            self.gram + other.gram,
            self.cross + other.cross,
            self.query_norms + other.query_norms,
            self.size + other.size,
            basis,
        )

    @property
    def basis_rows(self) -> int:
        """m, the number of rows that F is made of."""
        return len(self._basis[0])

    @property
    def trace(self) -> float:
        """tr(F), the mean squared norm of its rows."""
        return float(np.trace(self._basis[0])) / max(1, self.basis_rows)

    @property
    def _basis(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (self.gram, self.cross, self.gram) if self.basis is None else self.basis

    @cached_property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of F, ascending and not below zero, and eigenvectors U of its Gram matrix."""
        if self._shares is not None:
            return self._shares.spectrum
        matrix = self._basis[0] / max(1, self.basis_rows)
        # numpy's, for scipy's keeps the interpreter to itself while it decomposes
        values, vectors = np.linalg.eigh(matrix)
        return np.maximum(values, 0.0), vectors

    @cached_property
    def _turned(self) -> np.ndarray:
        """Products of the queries with F's rows in its eigenbasis, once for all methods."""
        return np.asarray(self._basis[1] @ self.spectrum[1])

    def filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·g_i for every query and training row, q × n."""
        sigma, vectors = self.spectrum
        if self.basis is None:
            return np.asarray((self._turned * f(sigma)) @ vectors.T)
        train = self.basis[2]
        zero = float(f(np.zeros(1))[0])
        inner = self._turned * self._inner(f)
        return np.asarray(zero * self.cross + inner @ (train @ vectors).T)

    def self_filtered(self, f: Filter) -> np.ndarray:
        """g_i·f(F)·g_i for every training row, (n,)."""
        sigma, vectors = self.spectrum
        if self.basis is None:
            return np.asarray((vectors**2) @ (sigma * f(sigma)) * self.rows)
        zero = float(f(np.zeros(1))[0])
        inside = (self.basis[2] @ vectors) ** 2
        return np.asarray(zero * self.train_norms + inside @ self._inner(f))

    def query_self_filtered(self, f: Filter) -> np.ndarray:
        """q·f(F)·q for every query, (q,)."""
        inside, outside = self.query_energy()
        return np.asarray(inside @ f(self.spectrum[0]) + outside * float(f(np.zeros(1))[0]))

    def query_energy(self) -> tuple[np.ndarray, np.ndarray]:
        """Squared coordinates of the queries in F's eigendirections (q × m), and outside (q,)."""
        coordinates, _ = self._coordinates()
        inside = coordinates**2
        return inside, np.maximum(self.query_norms - inside.sum(1), 0.0)

    def coefficients(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues, queries' coordinates with the rest last, and the map to scores; see the base."""
        sigma, vectors = self.spectrum
        query, keep = self._coordinates()
        root = np.sqrt(self.basis_rows * np.where(keep, sigma, 1.0))
        if self.basis is None:
            # K U = n U σ, so no product is needed
            train = (vectors * np.where(keep, root, 0.0)).T
        else:
            train = (self.basis[2] @ vectors * np.where(keep, 1 / root, 0.0)).T
        _, outside = self.query_energy()
        rest = np.sqrt(outside)
        return np.append(sigma, 0.0), np.column_stack([query, rest]), train

    def through_basis(self, weight: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
        """Σ_j w(q·r_j, ‖r_j‖²)(r_j·g_i), q × n."""
        gram, query, train = self._basis
        return np.asarray(weight(query, np.diagonal(gram)) @ train.T)

    def centred(self) -> GramBlock:
        """The block with the training rows' mean taken off both sides; F's own rows by their own mean."""
        mean_k, mean_c = self.gram.mean(0), self.cross.mean(1)
        grand = mean_k.mean()
        gram = self.gram - mean_k[:, None] - mean_k[None, :] + grand
        cross = self.cross - mean_c[:, None] - mean_k[None, :] + grand
        norms = np.maximum(self.query_norms - 2 * mean_c + grand, 0.0)
        basis = None
        if self.basis is not None:
            r, q, g = self.basis
            # (q − ḡ)·(r − r̄), and (r − r̄)·(r' − r̄)
            middle = np.eye(len(r)) - 1 / len(r)
            basis = (middle @ r @ middle, (q - g.mean(0)) @ middle, (g - g.mean(0)) @ middle)
        return GramBlock(gram, cross, norms, self.size, basis)

    def scaled(self, train: np.ndarray, query: np.ndarray) -> GramBlock:
        """The block with every training row and query multiplied by a number of its own."""
        basis = None
        if self.basis is not None:
            r, q, g = self.basis
            basis = (r, q * query[:, None], g * train[:, None])
        return GramBlock(
            lambda: self.gram * np.outer(train, train),
            self.cross * np.outer(query, train),
            self.query_norms * query**2,
            self.size,
            basis,
            self.train_norms * train**2,
        )

    def whitened(self, damping: float) -> GramBlock:
        """The block with (F + λI)^(−1/2) on both sides, F of the training rows."""

        def f(s: np.ndarray) -> np.ndarray:
            return 1 / (s + damping)

        sigma, vectors = self.spectrum
        if self.basis is None:
            gram = (vectors * (sigma * f(sigma) * self.rows)) @ vectors.T
        else:
            train = self.basis[2] @ vectors
            gram = self.gram * float(f(np.zeros(1))[0]) + (train * self._inner(f)) @ train.T
        return GramBlock(gram, self.filtered(f), self.query_self_filtered(f), self.size)

    def _inner(self, f: Filter) -> np.ndarray:
        sigma, _ = self.spectrum
        keep = sigma > _floor(sigma)
        safe = np.where(keep, sigma, 1.0)
        zero = float(f(np.zeros(1))[0])
        return np.where(keep, (f(safe) - zero) / (self.basis_rows * safe), 0.0)

    def _coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        sigma, _ = self.spectrum
        keep = sigma > _floor(sigma)
        scale = np.sqrt(self.basis_rows * np.where(keep, sigma, 1.0))
        return np.where(keep, self._turned / scale, 0.0), keep


def _floor(sigma: np.ndarray) -> float:
    return 1e-12 * max(float(sigma.max(initial=0.0)), 1e-300)
