"""Token errors: what the output layer's gradient is made of, from the forward pass alone."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from wherefrom.models import CountedLosses


class ErrorProjection:
    """Σ_t P(p_t − e_{y_t}) h_tᵀ of every row: its gradient at the output layer, seen through P.

    P has `dimension` rows of ±1/√dimension, drawn once from a fixed seed, so inner products between rows
    are kept within the Johnson–Lindenstrauss bound; a vocabulary no larger than `dimension` is kept
    exactly.

    Args:
        dimension: rows of P.
        reduction: a row is the mean or the sum over its counted tokens, as its loss is.
    """

    def __init__(self, dimension: int, reduction: Literal["mean", "sum"]) -> None:
        self.dimension = dimension
        self.reduction = reduction
        self._matrix: Tensor | None = None

    def size(self, vocabulary: int) -> int:
        """Rows of what comes out."""
        return min(self.dimension, vocabulary)

    def __call__(self, found: CountedLosses, labels: Tensor, states: Tensor) -> Tensor:
        """Rows × dimension × width.

        Args:
            found: losses and logits of the batch.
            labels: rows × positions, the tokens that were predicted.
            states: inputs of the output layer at the same positions.
        """
        with torch.no_grad():
            counted = found.counted
            p = torch.softmax(found.logits, -1)
            safe = labels.clamp(min=0)
            if p.shape[-1] <= self.dimension:
                ones = torch.ones_like(safe, dtype=p.dtype)
                error = p.scatter_add(-1, safe[..., None], -ones[..., None])
            else:
                matrix = self._projection(p.shape[-1], p)
                error = p @ matrix - matrix[safe]
            weights = counted / (counted.sum(1, keepdim=True) if self.reduction == "mean" else 1)
            error = error * weights[..., None]
            return torch.bmm(error.transpose(1, 2), states.to(error.dtype))

    def _projection(self, vocabulary: int, like: Tensor) -> Tensor:
        if self._matrix is None:
            generator = torch.Generator().manual_seed(0)
            signs = torch.randint(0, 2, (vocabulary, self.dimension), generator=generator)
            self._matrix = (signs * 2 - 1).to(like) / self.dimension**0.5
        return self._matrix


class OutputStates:
    """Keeps what the output layer was last fed, cut to the positions that count."""

    def __init__(self, model: Any) -> None:
        self._module: nn.Module | None = model.get_output_embeddings()
        self._held: Tensor | None = None

    def attach(self) -> Any:
        """Hooks the output layer; returns the handle that unhooks it."""
        assert self._module is not None

        def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._held = inputs[0].detach()

        return self._module.register_forward_pre_hook(keep)

    def take(self, keep: Tensor, device: torch.device) -> Tensor:
        """The states at the predicting positions, rows × positions × width."""
        held, self._held = self._held, None
        assert held is not None
        found = held if held.shape[1] == len(keep) else held[:, keep]
        return found.to(device)
