"""One step of the optimizer, clipping included, and the exact adjoint of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from wherefrom.models import FinetuneSettings

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
_CLIP_EPSILON = 1e-6
"""What `torch.nn.utils.clip_grad_norm_` adds to the norm."""


@dataclass(frozen=True)
class Update:
    """AdamW or SGD as the fine-tune runs them, on states (slots × entries).

    Slot 0 holds the trained weights; for AdamW, slots 1 and 2 hold its first and second moment.

    Attributes:
        settings: of the fine-tune.
        decay: (entries,), weight decay of each entry: 0 for biases and norms.
    """

    settings: FinetuneSettings
    decay: Tensor

    def start(self, weights: Tensor) -> Tensor:
        """The state before the first step, slots × entries."""
        slots = 3 if self.settings.optimizer == "adamw" else 1
        state = weights.new_zeros(slots, len(weights))
        state[0] = weights
        return state

    def clip_factor(self, gradient: Tensor) -> Tensor:
        """What clipping multiplies a gradient by: a scalar, at most 1."""
        most = self.settings.max_grad_norm
        if most <= 0:
            return gradient.new_ones(())
        return torch.clamp(most / (gradient.norm() + _CLIP_EPSILON), max=1.0)

    def after(self, state: Tensor, gradient: Tensor, step: int, rate: float) -> Tensor:
        """The state after a step.

        Args:
            state: slots × entries.
            gradient: (entries,), of the step's loss, before clipping.
            step: number of the step, from 0.
            rate: its learning rate.
        """
        clipped = gradient * self.clip_factor(gradient)
        kept = state[0] * (1 - rate * self.decay)
        if self.settings.optimizer == "sgd":
            return (kept - rate * clipped).unsqueeze(0)
        first = torch.lerp(state[1], clipped, 1 - _BETA1)
        second = _BETA2 * state[2] + (1 - _BETA2) * clipped * clipped
        size = rate / (1 - _BETA1 ** (step + 1))
        return torch.stack([kept - size * first / _denominator(second, step), first, second])

    def preconditioner(self, after: Tensor, step: int) -> Tensor:
        """1/(√v̂ + ε) of a step of AdamW, (entries,).

        Args:
            after: the state after the step.
            step: its number, from 0.
        """
        return 1 / _denominator(after[2], step)

    def adjoint(self, state: Tensor, gradient: Tensor, step: int, rate: float) -> UpdateAdjoint:
        """The adjoint of `after` at these arguments."""
        clip = self.clip_factor(gradient)
        kept = 1 - rate * self.decay
        if self.settings.optimizer == "sgd":
            by_moments = None
        else:
            after = self.after(state, gradient, step, rate)
            below, size = _denominator(after[2], step), rate / (1 - _BETA1 ** (step + 1))
            root = after[2].sqrt() * _root_correction(step)
            # v = 0 says that this entry's gradient was 0 in every step so far, and so m = 0. √v would rise
            # as |g| from there, and that slope is finite and multiplied by m: what passes through v is 0,
            # though autograd's 0·∞ is NaN. What passes through m is multiplied by 1/ε: large, but such a
            # gradient is 0 whatever the rows weigh (LoRA's A while B = 0, a token that the batch lacks), so
            # ∂g/∂w = 0 exactly and none of it reaches w.
            by_second = torch.where(
                after[2] > 0, size * after[1] / (2 * below**2 * root), torch.zeros_like(root)
            )
            by_moments = (-size / below, by_second, 2 * (1 - _BETA2) * clip * gradient)
        return UpdateAdjoint(gradient, clip, kept, by_moments, rate)


@dataclass(frozen=True)
class UpdateAdjoint:
    """Takes derivatives by the state after a step to derivatives by the state and gradient before it.

    The optimizer works on each entry alone, so its Jacobian is a few diagonals; clipping adds
    a part of rank 1.

    Attributes:
        gradient: (entries,), before clipping.
        clip: what clipping multiplied it by.
        kept: (entries,), ∂θ'/∂θ.
        by_moments: of AdamW, ∂θ'/∂m', ∂θ'/∂v' and ∂v'/∂g; None for SGD.
        rate: the step's learning rate.
    """

    gradient: Tensor
    clip: Tensor
    kept: Tensor
    by_moments: tuple[Tensor, Tensor, Tensor] | None
    rate: float

    def __call__(self, after: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives before the step.

        Args:
            after: slots × entries, derivatives by the state after the step.

        Returns:
            Derivatives by the state before it, the gradient held fixed (slots × entries), and by the
            gradient (entries,).
        """
        weights = after[0]
        if self.by_moments is None:
            before = (self.kept * weights).unsqueeze(0)
            clipped = -self.rate * weights
        else:
            by_first, by_second, squared = self.by_moments
            first = after[1] + by_first * weights
            second = after[2] + by_second * weights
            before = torch.stack([self.kept * weights, _BETA1 * first, _BETA2 * second])
            clipped = (1 - _BETA1) * first + squared * second
        return before, self._unclipped(clipped)

    def _unclipped(self, clipped: Tensor) -> Tensor:
        if self.clip >= 1:
            return clipped
        norm = self.gradient.norm()
        along = torch.dot(clipped, self.gradient) / (norm * (norm + _CLIP_EPSILON))
        turned: Tensor = self.clip * (clipped - along * self.gradient)
        return turned


def _denominator(second: Tensor, step: int) -> Tensor:
    return second.sqrt() / _root_correction(step) + _EPSILON


def _root_correction(step: int) -> float:
    return sqrt(1 - _BETA2 ** (step + 1))
