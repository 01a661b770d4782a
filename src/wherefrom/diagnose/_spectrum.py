"""A block's spectrum and where λ sits in it: what damped curvature can change of an answer, and does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from wherefrom.curvature import FisherBlock

_ZERO = 1e-12
"""Eigenvalues below this share of the largest are rounding."""


@dataclass(frozen=True)
class BlockSpectrum:
    """One weight matrix's empirical Fisher F = (1/n) Σ g_i g_iᵀ, exact, against its damping λ.

    F has at most n eigenvalues that are not zero, however many entries the matrix has, and every g_i lies
    in their directions: its rank says nothing about what (F + λI)⁻¹ does. What does is how much of the
    gradients lies where σ > λ.

    Attributes:
        name: of the weight matrix.
        size: p, its entries.
        rows: n, training rows.
        damping: λ.
        eigenvalues: those that are not zero, the largest first.
        above: how many of them are above λ.
        train_energy: share of a training row's squared gradient in directions with σ > λ, mean over rows.
        trace_above: the same of all rows' squared gradients together, so that large ones decide.
        query_energy: share of a query's squared gradient there, mean over queries; what lies outside the
            span of the training rows, where σ = 0, counts as below λ.
        query_outside: share of a query's squared gradient outside that span, mean over queries.
        effective_dimension: d_λ = Σ σ/(σ + λ), directions that damping leaves.
        quantile: share of the eigenvalues that are below λ.
        ratio: λ / largest eigenvalue.
        changed: `share_changed` of the block's part of the scores, mean over queries.
    """

    name: str
    size: int
    rows: int
    damping: float
    eigenvalues: np.ndarray
    above: int
    train_energy: float
    trace_above: float
    query_energy: float
    query_outside: float
    effective_dimension: float
    quantile: float
    ratio: float
    changed: float

    @property
    def rank(self) -> int:
        """How many eigenvalues are not zero."""
        return len(self.eigenvalues)


def measure_block(name: str, block: FisherBlock, damping: float) -> BlockSpectrum:
    """Looks at one block under one λ.

    Args:
        name: of the weight matrix.
        block: its gradients; F is of its training rows.
        damping: λ, above 0.
    """
    sigma = eigenvalues(block)
    train, query = energy_above(block, damping)
    floor = _ZERO * float(sigma.max(initial=0.0))
    outside = block.query_self_filtered(lambda s: (s <= floor).astype(np.float64))
    above = sigma > damping
    changed = share_changed(damped(block, damping), block.cross)
    return BlockSpectrum(
        name=name,
        size=block.size,
        rows=block.rows,
        damping=damping,
        eigenvalues=sigma,
        above=int(above.sum()),
        train_energy=_mean(train),
        trace_above=float(sigma[above].sum() / max(sigma.sum(), 1e-300)),
        query_energy=_mean(query),
        query_outside=_mean(_share(outside, block.query_norms)),
        effective_dimension=effective_dimension(sigma, damping),
        quantile=float((sigma < damping).mean()) if len(sigma) else 0.0,
        ratio=damping / float(sigma[0]) if len(sigma) else np.inf,
        changed=_mean(changed),
    )


def eigenvalues(block: FisherBlock) -> np.ndarray:
    """Eigenvalues of F that are not zero, the largest first."""
    sigma = block.spectrum[0][::-1]
    return np.asarray(sigma[sigma > _ZERO * sigma.max(initial=0.0)])


def effective_dimension(sigma: np.ndarray, damping: float) -> float:
    """d_λ = Σ σ/(σ + λ)."""
    return float((sigma / (sigma + damping)).sum())


def energy_above(block: FisherBlock, damping: float) -> tuple[np.ndarray, np.ndarray]:
    """Share of each row's squared gradient in eigendirections with σ > λ.

    Returns:
        Of training rows (n,) and queries (q,); NaN where a gradient is zero.
    """

    def above(sigma: np.ndarray) -> np.ndarray:
        return (sigma > damping).astype(np.float64)

    train = _share(block.self_filtered(above), block.train_norms)
    return train, _share(block.query_self_filtered(above), block.query_norms)


def damped(block: FisherBlock, damping: float) -> np.ndarray:
    """q(F + λI)⁻¹g_i, queries × training rows: higher = pushed the model more towards the response."""
    return block.filtered(lambda sigma: 1 / (sigma + damping))


def share_changed(scores: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """The share of an answer that curvature changes at all.

    Were (F + λI)⁻¹ = I/λ, scores with curvature would be plain ones times a constant. So: of the squared
    differences between the rows' scores, the share that no multiple of plain ones (above zero, and up to
    one constant for all rows, which changes no ranking) accounts for, 1 − max(r, 0)² with r Pearson's
    correlation over rows. 0 = the same answer in another unit; 1 = nothing of it is left. Neither the
    unit of either side nor λ's own size plays a part.

    Args:
        scores: with curvature, queries × rows.
        plain: without, queries × rows.

    Returns:
        (queries,); NaN where either side gives all rows the same score.
    """
    a = scores - scores.mean(1, keepdims=True)
    b = plain - plain.mean(1, keepdims=True)
    spread = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    size = np.linalg.norm(scores, axis=1) * np.linalg.norm(plain, axis=1)
    told = spread > _ZERO * size
    r = np.where(told, (a * b).sum(1), np.nan) / np.where(told, spread, 1.0)
    return np.asarray(1 - np.clip(r, 0.0, 1.0) ** 2)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    found = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
    return np.asarray(np.clip(found, 0.0, 1.0))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
