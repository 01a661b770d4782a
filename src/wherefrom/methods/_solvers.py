"""Inverses by iteration or in part: conjugate gradient, Arnoldi, HyperINF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.linalg

from wherefrom.curvature import matrix_shape
from wherefrom.errors import SettingError
from wherefrom.methods._block import REMOVAL, BlockEvidence, DampedMethod, Sums
from wherefrom.methods._features import flat
from wherefrom.methods._registry import method


@method("conjugate_gradient")
@dataclass(frozen=True)
class ConjugateGradient(DampedMethod):
    """(F + λI)⁻¹q by conjugate gradient from zero, query by query (Martens 2010), until it converges.

    Run in F's eigenbasis, where a step costs a product of vectors; the iterates are those of the plain
    algorithm. Steps and residual ‖(F + λI)x − q‖/‖q‖ are reported, means over queries and blocks.

    Attributes:
        tolerance: residual aimed at.
        steps: most steps taken.
    """

    linear: ClassVar[bool] = True
    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "Martens 2010"
    unit: ClassVar[str] = REMOVAL
    spectral: ClassVar[bool] = True
    tolerance: float = 1e-4
    steps: int = 100

    def contribution(self, block: BlockEvidence) -> Sums:
        """The iterates' products with the rows, steps and residual."""
        lam = self.lam(block)
        sigma, query, train = block.fisher.coefficients()
        solved, steps, residual = _solve(sigma + lam, query, self.tolerance, self.steps)
        inside, outside = query[:, :-1], query[:, -1:]
        # what F's rows do not span is multiplied by one number a query; so is its product with a row
        factor = np.divide(solved[:, -1:], outside, out=np.zeros_like(outside), where=outside > 0)
        rest = block.fisher.cross - inside @ train
        return {
            "score": solved[:, :-1] @ train + factor * rest,
            "damping": np.array(lam),
            "steps": np.array(steps.mean() if len(steps) else 0.0),
            "residual": np.array(residual.mean() if len(steps) else 0.0),
        }


def _solve(
    diagonal: np.ndarray, right: np.ndarray, tolerance: float, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Conjugate gradient on a diagonal matrix for several right sides at once."""
    x, r = np.zeros_like(right), right.copy()
    p, squared = r.copy(), _squares(r)
    aim = tolerance**2 * squared
    steps = np.zeros(len(right))
    ap = np.empty_like(p)
    for _ in range(most):
        active = squared > aim
        if not active.any():
            break
        np.multiply(p, diagonal, out=ap)
        curve = np.einsum("qd,qd->q", p, ap)
        alpha = np.divide(squared, curve, out=np.zeros_like(curve), where=active & (curve > 0))
        x += alpha[:, None] * p
        np.multiply(ap, alpha[:, None], out=ap)
        r -= ap
        after = np.where(active, _squares(r), squared)
        beta = np.divide(after, squared, out=np.zeros_like(after), where=active & (squared > 0))
        # a query that has converged takes steps of length 0: its direction no longer matters
        p *= beta[:, None]
        p += r
        squared, steps = after, steps + active
    norms = (right**2).sum(1)
    left = np.divide(squared, norms, out=np.zeros_like(norms), where=norms > 0)
    return x, steps, np.sqrt(left)


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("qd,qd->q", rows, rows))


@method("arnoldi")
@dataclass(frozen=True)
class Arnoldi(DampedMethod):
    """Influence inside F's k leading eigendirections, and nothing outside them (2112.03052).

    The paper finds the directions by Arnoldi's iteration from a random vector; here they come from the
    exact decomposition that other methods need anyway, which is what the iteration converges to.

    Attributes:
        k: directions kept, of each block.
    """

    linear: ClassVar[bool] = True
    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "2112.03052"
    unit: ClassVar[str] = REMOVAL
    spectral: ClassVar[bool] = True
    k: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k < 1:
            raise SettingError(f"{self.name}: k must be at least 1, not {self.k}.")

    def contribution(self, block: BlockEvidence) -> Sums:
        """C U_k (σ_k + λ)⁻¹ U_kᵀ."""
        lam = self.lam(block)
        sigma, _ = block.fisher.spectrum
        least = float(np.sort(sigma)[-min(self.k, len(sigma))])
        floor = max(least, 1e-12 * float(sigma.max(initial=0.0)), 1e-300)
        score = block.fisher.filtered(lambda s: np.where(s >= floor, 1 / (s + lam), 0.0))
        return {"score": score, "damping": np.array(lam)}


@method("hyperinf")
@dataclass(frozen=True)
class HyperInf(DampedMethod):
    """HyperINF: ⟨Q (Φ + λI)⁻¹, G_i⟩ with the generalised Fisher Φ = (1/n) Σ G_iᵀG_i / r (2410.05090).

    A weight's gradient is taken as a matrix whose longer side is d and shorter r; F is taken to be Φ for
    each of the r slices. The paper inverts by Schulz's iteration X ← X(2I − (Φ + λI)X); from X = I/‖·‖
    the error of an eigenvalue a after k steps is (1 − a/‖·‖)^(2^k), and that closed form is what is
    computed. The residual left in the slowest direction is reported.

    Attributes:
        steps: Schulz steps.
    """

    family: ClassVar[str] = "influence"
    paper: ClassVar[str] = "2410.05090"
    unit: ClassVar[str] = REMOVAL
    raw_gradients: ClassVar[bool] = True
    steps: int = 25
    damping: float | None = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rule is not None:
            raise SettingError(f"{self.name}: its λ is c·tr(Φ)/d; it takes no rule.")

    def contribution(self, block: BlockEvidence) -> Sums:
        """The product of every query's solved matrix with every row's."""
        train, query = self._matrices(block, "train"), self._matrices(block, "query")
        n, short, long = train.shape
        slices = train.reshape(n * short, long)
        phi = (slices.T @ slices).astype(np.float64) / (n * short)
        _, strength = self.strength(block.recipe)
        lam = strength * float(np.trace(phi)) / long
        solved, left = self._solved(phi, lam, query)
        score = flat(solved).astype(train.dtype) @ flat(train).T
        return {"score": score, "damping": np.array(lam), "residual": np.array(left)}

    def _solved(self, phi: np.ndarray, lam: float, query: np.ndarray) -> tuple[np.ndarray, float]:
        """The queries' matrices times the iterate, and the residual of its slowest direction."""
        damped = phi + lam * np.eye(len(phi))
        # the trace bounds the norm, so this bounds what the iteration leaves
        if (1 - lam / float(np.trace(damped))) ** (2.0**self.steps) < 1e-15:
            factor = scipy.linalg.cho_factor(damped)
            flat = query.reshape(-1, len(phi))
            return scipy.linalg.cho_solve(factor, flat.T).T.reshape(query.shape), 0.0
        sigma, vectors = scipy.linalg.eigh(phi, driver="evd")
        values = np.maximum(sigma, 0.0) + lam
        left = np.maximum(1 - values / float(values.max()), 0.0) ** (2.0**self.steps)
        return ((query @ vectors) * ((1 - left) / values)) @ vectors.T, float(left.max())

    def _matrices(self, block: BlockEvidence, side: str) -> np.ndarray:
        # products of float32 gradients lose nothing that their rounding had not lost; the inverse might
        values = getattr(block.raw, side)
        if not self.project:
            values = values.reshape(len(values), *matrix_shape(block.raw.block))
        turned = values if values.shape[1] <= values.shape[2] else values.transpose(0, 2, 1)
        return np.asarray(turned)
