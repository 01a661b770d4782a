"""In-run Data Shapley: what each row's part of every step did to the queries at that step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wherefrom.counterfactual._flat import Dtype
from wherefrom.counterfactual._plan import TrainingPlan
from wherefrom.counterfactual._steps import (
    Outcome,
    StepGradient,
    Steps,
    require_counted,
    require_finite,
)
from wherefrom.data import TokenRow
from wherefrom.errors import SettingError
from wherefrom.models import FinetuneSettings, LoadedModel
from wherefrom.progress import track


@dataclass(frozen=True)
class InRun:
    """In-run Data Shapley values.

    Attributes:
        first: float64, queries × training rows: the part of first order; change of the query's outcome, in
            nats (a token, where the outcome is the mean); higher = pushed the model more towards the
            query's response.
        second: the part of second order, alike; None where it was not asked for.
        final: the replay's final weights, by the names of checkpoints.
        gap: how far they are from the run's own, as a share of the way it went; None where those were
            not given.
    """

    first: np.ndarray
    second: np.ndarray | None
    final: Mapping[str, Tensor]
    gap: float | None

    @property
    def values(self) -> np.ndarray:
        """The Shapley values, queries × training rows: both parts, as far as they were asked for."""
        return self.first if self.second is None else self.first + self.second


def in_run_shapley(
    prepared: LoadedModel,
    rows: Sequence[TokenRow],
    queries: Sequence[TokenRow],
    settings: FinetuneSettings,
    plan: TrainingPlan,
    *,
    second_order: bool = True,
    preconditioned: bool = False,
    outcome: Outcome = "mean",
    dtype: Dtype = "float32",
    run: Mapping[str, Tensor] | None = None,
) -> InRun:
    """Shapley values of the rows of every step, in the game of that step alone, summed over the run.

    In-run Data Shapley (2406.11011) by first and second order Taylor expansion. A step moves the weights
    by Δ = Σ_i Δ_i over its rows, Δ_i = −η·c·g_i with g_i = ∇ℓ_i/N (N the batch's counted tokens, so the
    g_i sum to the batch's gradient) and c the factor of clipping, held fixed. With f the query's outcome
    at the weights before the step, a part S of the rows alone would change it by

        v(S) = ∇f·Δ_S + ½ Δ_Sᵀ H_f Δ_S,  Δ_S = Σ_{i∈S} Δ_i.

    The Shapley value of a linear game is each row's own term. Of ΣΣ_{i,j∈S} ½ Δ_iᵀHΔ_j a row keeps the term
    that it has with itself and shares each pair's two equal terms with the other one:

        φ_i = ∇f·Δ_i + ½ Δ_iᵀ H_f Δ.

    The paper's values are those of the query's loss, −f, so their sign is the other one. It derives them
    for SGD. For a run by AdamW they are what its SGD formula gives along the run's own weights; with
    `preconditioned`, Δ_i = −η·c·P g_i with P = 1/(√v̂ + ε) the step's own, held fixed, and the share of
    g_i that momentum spreads over later steps counted as if applied at once. That is an extension of ours.

    One Hessian-vector product a step and query (the second-order part), and one derivative of the batch's
    gradient by its rows' weights in place of a gradient for each row; dropout falls as it did in the run.

    Args:
        prepared: what `wherefrom.models.prepare` gave for these settings; left as it is.
        rows: training rows, as the run had them.
        queries: rows whose counted tokens are asked about.
        settings: of the fine-tune.
        plan: its batches, rates and first weights.
        second_order: also the part of second order.
        preconditioned: by AdamW's own update; see above.
        outcome: mean or sum of the log-probabilities of a query's counted tokens.
        dtype: of all arithmetic.
        run: final weights of the run itself, to compare with.

    Raises:
        DataError: a query counts no token, or the plan has rows that are not there.
        ModelError: the plan is one of another model.
        NonFiniteError: the run diverged.
        SettingError: `preconditioned`, and the run was not by AdamW.
    """
    if preconditioned and settings.optimizer != "adamw":
        raise SettingError(f"preconditioned is for runs by adamw, not by {settings.optimizer}.")
    require_counted(queries)
    steps = Steps(prepared, rows, settings, plan, dtype)
    parts = np.zeros((1 + second_order, len(queries), len(rows)))
    state = steps.start()
    with track("in-run Shapley", len(steps)) as advance:
        for step in range(len(steps)):
            gradient = steps.gradient(state[0], step)
            value = gradient.value.detach()
            after = steps.update.after(state, value, step, steps.rates[step])
            scale = steps.rates[step] * steps.update.clip_factor(value)
            if preconditioned:
                scale = scale * steps.update.preconditioner(after, step)
            batch = list(steps.batches[step])
            for index, query in enumerate(queries):
                found = _of_step(steps, gradient, scale, query, outcome, second_order)
                parts[:, index, batch] += found.double().cpu().numpy()
            state = after
            require_finite(state)
            advance(1)
    return InRun(
        first=parts[0],
        second=parts[1] if second_order else None,
        final=steps.model.state(state[0]),
        gap=steps.gap(state[0], run),
    )


def _of_step(
    steps: Steps,
    gradient: StepGradient,
    scale: Tensor,
    query: TokenRow,
    outcome: Outcome,
    second_order: bool,
) -> Tensor:
    """One query's values of a step's rows: parts × rows of the batch."""
    at = gradient.weights.detach().requires_grad_()
    value = steps.log_probability(at, query, outcome)
    (slope,) = torch.autograd.grad(value, at, create_graph=second_order)
    first = gradient.by_rows(-scale * slope.detach())
    if not second_order:
        return first.unsqueeze(0)
    moved = -scale * gradient.value.detach()
    (curved,) = torch.autograd.grad(slope, at, moved, materialize_grads=True)
    return torch.stack([first, gradient.by_rows(-scale * curved / 2)])
