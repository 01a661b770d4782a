"""The training loss's own curvature, by products: Hessian, Gauss–Newton matrix, empirical Fisher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from wherefrom.counterfactual._flat import Dtype, FlatModel
from wherefrom.data import TokenRow
from wherefrom.errors import DataError
from wherefrom.models import CountedLosses, LoadedModel, trained_state

Curvature = Literal["hessian", "gauss-newton", "empirical"]
CURVATURES: tuple[Curvature, ...] = get_args(Curvature)
_TOGETHER = 16
"""Vectors that go through one backward: more spill out of the processor's cache."""


class ExactCurvature:
    """Second derivatives of the mean training loss L = (1/n) Σ ℓ_i by all trained weights.

    ℓ_i is the row's loss as the pass captures its gradient: the mean or sum over the tokens that count,
    in nats. The Hessian is ∂²L/∂θ². The Gauss–Newton matrix is (1/n) Σ_i w_i Σ_t J_tᵀ(diag p − p pᵀ)J_t
    with J_t the derivative of the logits at a counted token and w_i = 1/tokens or 1, which for softmax
    cross-entropy is the true Fisher: labels drawn from the model instead of the data's (Martens 2014,
    1412.1193). The empirical Fisher is (1/n) Σ g_i g_iᵀ with the data's own labels, which is neither
    (Kunstner et al. 2019, 1905.12558).

    Dropout is off. A product costs two to four passes over the rows.

    Args:
        model: the model as a function of its trained weights.
        weights: (entries,), where the derivatives are taken.
        rows: training rows.
        reduction: a row's loss is the mean or sum over its counted tokens.
        batch_tokens: most tokens of a batch; changes rounding and no more.

    Raises:
        DataError: a row counts no token.
    """

    def __init__(
        self,
        model: FlatModel,
        weights: Tensor,
        rows: Sequence[TokenRow],
        reduction: Literal["mean", "sum"] = "mean",
        batch_tokens: int = 512,
    ) -> None:
        empty = [row.id for row in rows if not row.loss_mask.any()]
        if empty:
            raise DataError(f"row {empty[0]!r} counts no token, so it has no loss.")
        self.model, self.rows, self.reduction = model, rows, reduction
        self.weights = weights.detach().to(model.device, model.dtype)
        self._batches = _batches(rows, batch_tokens)
        self._dense: dict[Curvature, np.ndarray] = {}

    @classmethod
    def of(
        cls,
        loaded: LoadedModel,
        rows: Sequence[TokenRow],
        reduction: Literal["mean", "sum"] = "mean",
        dtype: Dtype = "float64",
        batch_tokens: int = 512,
    ) -> ExactCurvature:
        """At the weights that a model has; what was trained has `requires_grad`."""
        flat = FlatModel(loaded, dtype)
        return cls(flat, flat.vector(trained_state(loaded.model)), rows, reduction, batch_tokens)

    @property
    def size(self) -> int:
        """p, trained weights."""
        return len(self.weights)

    @cached_property
    def gradients(self) -> np.ndarray:
        """g_i of every training row, n × p, float64."""
        return self.row_gradients(self.rows)

    def row_gradients(self, rows: Sequence[TokenRow]) -> np.ndarray:
        """Gradients of some rows' losses, rows × p, float64."""
        found = np.zeros((len(rows), self.size))
        for index, row in enumerate(rows):
            at = self.weights.clone().requires_grad_()
            (value,) = torch.autograd.grad(self._row_losses(self.model.losses(at, [row])).sum(), at)
            found[index] = value.double().cpu().numpy()
        return found

    def product(self, kind: Curvature, vectors: np.ndarray) -> np.ndarray:
        """Curvature times vectors.

        Args:
            kind: which.
            vectors: (p,) or p × k.

        Returns:
            float64, of the same shape.
        """
        if kind == "empirical":
            return np.asarray(self.gradients.T @ (self.gradients @ vectors) / len(self.rows))
        columns = torch.from_numpy(np.asarray(vectors, np.float64).reshape(self.size, -1).T.copy())
        columns = columns.to(self.weights)
        found = torch.zeros_like(columns)
        begin = self._hessian if kind == "hessian" else self._gauss_newton
        for batch in self._batches:
            times = begin([self.rows[i] for i in batch])
            for start in range(0, len(columns), _TOGETHER):
                part = slice(start, start + _TOGETHER)
                found[part] += times(columns[part])
        values = found.double().cpu().numpy().T / len(self.rows)
        return np.asarray(values.reshape(np.shape(vectors)))

    def dense(self, kind: Curvature) -> np.ndarray:
        """The whole matrix, p × p, float64; kept. For p up to a few thousand."""
        if kind not in self._dense:
            found = self.product(kind, np.eye(self.size))
            self._dense[kind] = (found + found.T) / 2
        return self._dense[kind]

    def extreme_eigenvalues(
        self, kind: Curvature, k: int = 10, *, least: bool = False, seed: int = 0
    ) -> np.ndarray:
        """The k largest eigenvalues, or the k least, by Lanczos (ARPACK); the most extreme first.

        Args:
            kind: of which curvature.
            k: how many, below p.
            least: the least ones: of the Hessian those below zero.
            seed: of the vector that it starts from; changes rounding.
        """
        start = np.random.default_rng(seed).standard_normal(self.size)
        shape = (self.size, self.size)
        operator = LinearOperator(shape, matvec=lambda v: self.product(kind, v), dtype=np.float64)
        found = eigsh(operator, k, which="SA" if least else "LA", v0=start, tol=1e-6)[0]
        return np.sort(found) if least else np.sort(found)[::-1]

    def trace(self, kind: Curvature, draws: int = 32, seed: int = 0) -> tuple[float, float]:
        """Trace by Hutchinson's estimator with random signs, and its standard error.

        Args:
            kind: of which curvature.
            draws: how many random vectors, at least 2.
            seed: which ones.
        """
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], (self.size, draws))
        found = (signs * self.product(kind, signs)).sum(0)
        return float(found.mean()), float(found.std(ddof=1) / np.sqrt(draws))

    def _row_losses(self, found: CountedLosses) -> Tensor:
        total = found.losses.sum(1)
        return total / found.counted.sum(1) if self.reduction == "mean" else total

    def _hessian(self, rows: Sequence[TokenRow]) -> Callable[[Tensor], Tensor]:
        at = self.weights.clone().requires_grad_()
        loss = self._row_losses(self.model.losses(at, rows)).sum()
        (gradient,) = torch.autograd.grad(loss, at, create_graph=True)
        return lambda vectors: _through(gradient, at, vectors)

    def _gauss_newton(self, rows: Sequence[TokenRow]) -> Callable[[Tensor], Tensor]:
        at = self.weights.clone().requires_grad_()
        found = self.model.losses(at, rows)
        logits = found.logits[found.counted]
        # Jᵀu is linear in u, so that its derivative by u along v is Jv: a forward product by two backward
        dummy = torch.zeros_like(logits, requires_grad=True)
        (pulled,) = torch.autograd.grad(logits, at, dummy, create_graph=True)
        p = torch.softmax(logits.detach(), -1)
        each = found.counted.sum(1, keepdim=True).expand_as(found.counted)[found.counted]
        weight = 1 / each[:, None] if self.reduction == "mean" else p.new_ones(len(p), 1)

        def times(vectors: Tensor) -> Tensor:
            pushed = p * _through(pulled, dummy, vectors)
            return _through(logits, at, weight * (pushed - p * pushed.sum(-1, keepdim=True)))

        return times


def _through(output: Tensor, at: Tensor, vectors: Tensor) -> Tensor:
    """Each vector times the derivative of `output`, rows of the result."""
    (found,) = torch.autograd.grad(
        output, at, vectors, retain_graph=True, is_grads_batched=True, materialize_grads=True
    )
    return found


def _batches(rows: Sequence[TokenRow], tokens: int) -> list[list[int]]:
    """Row numbers in batches of rows whose counted tokens stand at about the same places.

    A batch has logits wherever one of its rows counts a token: most of the cost of a small model.
    """
    found: list[list[int]] = [[]]
    for index in sorted(range(len(rows)), key=lambda i: int(np.argmax(rows[i].loss_mask))):
        if found[-1] and (len(found[-1]) + 1) * len(rows[index].ids) > tokens:
            found.append([])
        found[-1].append(index)
    return found
