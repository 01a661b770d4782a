"""The steps of a training run, to be taken again, as functions of its weights and of its rows' weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from transformers import Trainer

from wherefrom.counterfactual._flat import Dtype, FlatModel
from wherefrom.counterfactual._plan import TrainingPlan
from wherefrom.counterfactual._update import Update
from wherefrom.data import TokenRow
from wherefrom.errors import DataError, NonFiniteError
from wherefrom.models import FinetuneSettings, LoadedModel, step_seed

Outcome = Literal["mean", "sum"]
"""Mean or sum of the log-probabilities of a query's counted tokens, in nats."""


@dataclass(frozen=True)
class StepGradient:
    """Gradient of one step's loss, Σ_i w_i·ℓ_i / N, that can be differentiated once more.

    ℓ_i is the sum of row i's counted losses, and N the counted tokens of the whole batch.

    Attributes:
        value: (entries,), at w = 1 and before clipping.
        weights: (entries,), the trained weights it was taken at.
        row_weights: (rows of the batch,), w.
    """

    value: Tensor
    weights: Tensor
    row_weights: Tensor

    def by_rows(self, direction: Tensor) -> Tensor:
        """Each row's part of `value`·`direction`: ∇ℓ_i·u / N, (rows of the batch,)."""
        (found,) = torch.autograd.grad(
            self.value, self.row_weights, direction, retain_graph=True, materialize_grads=True
        )
        return found

    def by_weights_and_rows(self, direction: Tensor) -> tuple[Tensor, Tensor]:
        """Derivatives of `value`·`direction` by the trained weights, H·u, and by the row weights."""
        by_weights, by_rows = torch.autograd.grad(
            self.value,
            (self.weights, self.row_weights),
            direction,
            retain_graph=True,
            materialize_grads=True,
        )
        return by_weights, by_rows


class Steps:
    """A training run as a sequence of states (slots × entries): the same batches, rates and dropout.

    Args:
        prepared: what `wherefrom.models.prepare` gave for these settings; left as it is.
        rows: training rows.
        settings: of the fine-tune.
        plan: its batches, rates and first weights.
        dtype: of all arithmetic, whatever precision the fine-tune ran in.

    Attributes:
        model: the model as a function of its trained weights.
        update: the optimizer.
        batches: row numbers of every step.
        rates: learning rate of every step.

    Raises:
        DataError: the plan has rows that are not there.
        ModelError: the plan is one of another model.
    """

    def __init__(
        self,
        prepared: LoadedModel,
        rows: Sequence[TokenRow],
        settings: FinetuneSettings,
        plan: TrainingPlan,
        dtype: Dtype,
    ) -> None:
        highest = max((max(batch, default=-1) for batch in plan.batches), default=-1)
        if highest >= len(rows):
            raise DataError(
                f"the run was trained on row number {highest}, and there are {len(rows)} rows. Give the "
                "rows of the run, all of them, in their order."
            )
        self.rows, self.batches, self.rates, self.seed = rows, plan.batches, plan.rates, plan.seed
        self.model = FlatModel(prepared, dtype)
        self.update = Update(settings, self._decay(prepared.model, settings.weight_decay))
        self._initial = self.model.vector(plan.initial)

    def __len__(self) -> int:
        return len(self.batches)

    def start(self) -> Tensor:
        """The state before the first step."""
        return self.update.start(self._initial)

    def gradient(self, weights: Tensor, step: int, *, differentiable: bool = True) -> StepGradient:
        """The gradient of a step's loss.

        Args:
            weights: (entries,), before the step.
            step: number of the step, from 0.
            differentiable: keep what a second derivative needs.
        """
        weights = weights.detach().requires_grad_()
        batch = [self.rows[i] for i in self.batches[step]]
        row_weights = weights.new_ones(len(batch), requires_grad=True)
        found = self.model.losses(weights, batch, step_seed(self.seed, step))
        loss = (row_weights * found.losses.sum(1)).sum() / found.counted.sum()
        (value,) = torch.autograd.grad(loss, weights, create_graph=differentiable)
        return StepGradient(value, weights, row_weights)

    def after(self, state: Tensor, step: int) -> Tensor:
        """The state after a step, from the one before it."""
        gradient = self.gradient(state[0], step, differentiable=False).value
        return self.update.after(state, gradient, step, self.rates[step])

    def log_probability(self, weights: Tensor, query: TokenRow, outcome: Outcome) -> Tensor:
        """A query's outcome under some weights, without dropout: a scalar."""
        found = self.model.losses(weights, [query])
        total = -found.losses.sum()
        return total if outcome == "sum" else total / found.counted.sum()

    def outcome_gradients(
        self, weights: Tensor, queries: Sequence[TokenRow], outcome: Outcome
    ) -> tuple[Tensor, Tensor]:
        """Outcomes, (queries,), and their derivatives by the trained weights, queries × entries."""
        at = weights.detach().requires_grad_()
        values = weights.new_zeros(len(queries))
        gradients = weights.new_zeros(len(queries), len(weights))
        for index, query in enumerate(queries):
            value = self.log_probability(at, query, outcome)
            (gradients[index],) = torch.autograd.grad(value, at)
            values[index] = value.detach()
        return values, gradients

    def gap(self, replayed: Tensor, run: Mapping[str, Tensor] | None) -> float | None:
        """How far the replay ended from the run, as a share of the way that the run went.

        Args:
            replayed: (entries,), final weights of the replay.
            run: final weights of the run, by the names of checkpoints; where None, so is the result.
        """
        if run is None:
            return None
        ended = self.model.vector(run)
        return float((replayed - ended).norm() / (ended - self._initial).norm())

    def _decay(self, model: Any, weight_decay: float) -> Tensor:
        # the very rule of the trainer; it looks at nothing but the model
        names = set(Trainer.get_decay_parameter_names(cast(Any, None), model))
        each = [weight_decay if name in names else 0.0 for name in self.model.names]
        decay = torch.tensor(each, dtype=self.model.dtype)
        return decay.repeat_interleave(torch.tensor(self.model.sizes)).to(self.model.device)


def require_counted(queries: Sequence[TokenRow]) -> None:
    """Refuses queries that have no outcome.

    Raises:
        DataError: a query counts no token.
    """
    for query in queries:
        if not query.loss_mask.any():
            raise DataError(
                f"query {query.id!r} counts no token, so nothing is asked of the model."
            )


def require_finite(weights: Tensor) -> None:
    """Refuses weights of a run that diverged.

    Raises:
        NonFiniteError: a weight is NaN or Inf.
    """
    if not bool(torch.isfinite(weights).all()):
        raise NonFiniteError(
            "the replayed run diverged (NaN or Inf). Fine-tune with a lower --learning-rate."
        )
