"""Exact unrolling: the derivative of what a run ends in by the weight of every training row."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wherefrom.counterfactual._flat import Dtype
from wherefrom.counterfactual._plan import TrainingPlan
from wherefrom.counterfactual._steps import Outcome, Steps, require_counted, require_finite
from wherefrom.data import TokenRow
from wherefrom.errors import NonFiniteError
from wherefrom.models import FinetuneSettings, LoadedModel
from wherefrom.progress import track


@dataclass(frozen=True)
class Unrolled:
    """Derivatives through a training run.

    Attributes:
        values: float64, queries × training rows; change of the query's outcome, in nats (a token, where
            the outcome is the mean), per unit of the row's weight in the loss; higher = pushed the model
            more towards the query's response. A row left out is predicted to change it by −value.
        outcomes: float64, (queries,), the outcomes of the replayed run.
        final: the replay's final weights, by the names of checkpoints.
        gap: how far they are from the run's own, as a share of the way it went; None where those were
            not given. Rounding alone leaves about 1e-5; a run in bfloat16 leaves more, and the derivative
            is then one through a neighbour of the run.
        states_held: the most states of the run that were kept at one time.
    """

    values: np.ndarray
    outcomes: np.ndarray
    final: Mapping[str, Tensor]
    gap: float | None
    states_held: int


@dataclass(frozen=True)
class UnrollCost:
    """What unrolling a run takes.

    Attributes:
        steps: of the run.
        queries: how many.
        seconds: from one step that was timed here.
        runs: the same as a multiple of taking the run's steps once.
        bytes_held: at most, of states and derivatives kept at one time; beside the graph of one step.
    """

    steps: int
    queries: int
    seconds: float
    runs: float
    bytes_held: int


def unroll(
    prepared: LoadedModel,
    rows: Sequence[TokenRow],
    queries: Sequence[TokenRow],
    settings: FinetuneSettings,
    plan: TrainingPlan,
    *,
    outcome: Outcome = "mean",
    dtype: Dtype = "float32",
    run: Mapping[str, Tensor] | None = None,
    scratch: Path | None = None,
) -> Unrolled:
    """Differentiates every query's outcome by the weight of every training row, through the whole run.

    With w_i the weight of row i, the loss of a step is Σ w_i·ℓ_i / N over its batch (ℓ_i summed over the
    row's counted tokens; N the batch's counted tokens, whatever they weigh), and the derivative is taken
    at w = 1: the metagradient of MAGIC (2504.16430). One exact adjoint step a training step, AdamW's
    moments, weight decay, clipping and dropout included: with s' = U(s, g(θ, w)) a step from state
    s = (θ, m, v), λ = (∂U/∂s)ᵀλ' + (∂g/∂θ)ᵀu and ∂/∂w += (∂g/∂w)ᵀu, where u = (∂U/∂g)ᵀλ'.

    The run is replayed once, keeping every √T-th state; then each stretch between two of them is replayed
    again, keeping its states, and gone through backwards (REPLAY with a tree of depth 2). So 2√T states
    are kept, and the steps cost about 3 runs plus one Hessian-vector product a step and query.

    What it is not. It is a derivative at w = 1: clipping does not feel how long a gradient is, and AdamW
    little, so for a row that was alone in its batch (as the last of an epoch can be) it says little or
    nothing, though leaving that row out takes a step away; and where an entry's gradient nearly cancels,
    AdamW's step −η·g/(|g| + ε) bends within ε. And the replay is the run only as far as `Unrolled.gap`
    says: one in bfloat16 is replayed in `dtype`, and dropout that a GPU's fused attention drew is drawn
    anew.

    Args:
        prepared: what `wherefrom.models.prepare` gave for these settings; left as it is.
        rows: training rows, as the run had them.
        queries: rows whose counted tokens are asked about.
        settings: of the fine-tune.
        plan: its batches, rates and first weights.
        outcome: mean or sum of the log-probabilities of a query's counted tokens.
        dtype: of all arithmetic. In float32 the bends above cost digits: on tiny models, of the largest
            value, up to 3e-3 with an adapter and 3e-2 when AdamW trains all weights; 2e-5 by SGD.
        run: final weights of the run itself, to compare with.
        scratch: an existing folder where states wait as safetensors; in memory when None.

    Raises:
        DataError: a query counts no token, or the plan has rows that are not there.
        ModelError: the plan is one of another model.
        NonFiniteError: the run, or the derivative through it, diverged.
    """
    require_counted(queries)
    steps = Steps(prepared, rows, settings, plan, dtype)
    states = _States(scratch)
    stride = _stride(len(steps))
    state = steps.start()
    with track("replay", len(steps)) as advance:
        for step in range(len(steps)):
            if step % stride == 0:
                states.put(step, state)
            state = steps.after(state, step)
            advance(1)
    require_finite(state)
    outcomes, gradients = steps.outcome_gradients(state[0], queries, outcome)
    adjoints = state.new_zeros(len(queries), *state.shape)
    adjoints[:, 0] = gradients
    values = np.zeros((len(queries), len(rows)))
    with track("unroll", len(steps)) as advance:
        for first in reversed(range(0, len(steps), stride)):
            _replay_stretch(steps, states, first, min(first + stride, len(steps)))
            for step in reversed(range(first, min(first + stride, len(steps)))):
                found = _step_back(steps, states.take(step), step, adjoints)
                values[:, list(steps.batches[step])] += found.double().cpu().numpy()
                advance(1)
    _require_finite_values(values, queries, rows)
    return Unrolled(
        values=values,
        outcomes=outcomes.double().cpu().numpy(),
        final=steps.model.state(state[0]),
        gap=steps.gap(state[0], run),
        states_held=states.most,
    )


def unroll_cost(
    prepared: LoadedModel,
    rows: Sequence[TokenRow],
    queries: Sequence[TokenRow],
    settings: FinetuneSettings,
    plan: TrainingPlan,
    *,
    dtype: Dtype = "float32",
) -> UnrollCost:
    """What `unroll` would take, from one step that is timed.

    Args:
        prepared: as for `unroll`.
        rows: as for `unroll`.
        queries: as for `unroll`.
        settings: as for `unroll`.
        plan: as for `unroll`.
        dtype: as for `unroll`.
    """
    steps = Steps(prepared, rows, settings, plan, dtype)
    state, step = steps.start(), len(steps) // 2
    steps.after(state, step)
    marks = [_now(steps)]
    after = steps.after(state, step)
    marks.append(_now(steps))
    gradient = steps.gradient(state[0], step)
    marks.append(_now(steps))
    gradient.by_weights_and_rows(after[0])
    marks.append(_now(steps))
    plain, graph, product = np.diff(marks)
    seconds = len(steps) * (2 * plain + graph + len(queries) * product)
    stride = _stride(len(steps))
    # the most there can be: the first of every stretch, and the rest of one
    states = ceil(len(steps) / stride) + stride - 1
    return UnrollCost(
        steps=len(steps),
        queries=len(queries),
        seconds=float(seconds),
        runs=float(seconds / (len(steps) * plain)),
        bytes_held=(states + len(queries)) * state.numel() * state.element_size(),
    )


def _stride(steps: int) -> int:
    return max(1, ceil(sqrt(steps)))


def _replay_stretch(steps: Steps, states: _States, first: int, stop: int) -> None:
    state = states.read(first)
    for step in range(first, stop - 1):
        state = steps.after(state, step)
        states.put(step + 1, state)


def _step_back(steps: Steps, state: Tensor, step: int, adjoints: Tensor) -> Tensor:
    """Takes the adjoints (queries × slots × entries), in place, to before a step.

    Returns:
        Derivatives by the weights of the step's rows: queries × rows of the batch.
    """
    gradient = steps.gradient(state[0], step)
    adjoint = steps.update.adjoint(state, gradient.value.detach(), step, steps.rates[step])
    found = state.new_zeros(len(adjoints), len(steps.batches[step]))
    # one query at a time: batched by vmap it is no faster on a CPU and holds every query's activations
    for index in range(len(adjoints)):
        before, direction = adjoint(adjoints[index])
        if step == 0:
            # no row weighs on the first weights, so nothing asks for the derivative by them
            found[index] = gradient.by_rows(direction)
            continue
        by_weights, found[index] = gradient.by_weights_and_rows(direction)
        before[0] += by_weights
        adjoints[index] = before
    return found


class _States:
    """States of a run by step, in memory or in files; counts how many there are at most."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._held: dict[int, Tensor | None] = {}
        self.most = 0

    def put(self, step: int, state: Tensor) -> None:
        if self._folder is not None:
            save_file({"state": state.contiguous()}, self._path(step))
        self._held[step] = state if self._folder is None else None
        self._device = state.device
        self.most = max(self.most, len(self._held))

    def read(self, step: int) -> Tensor:
        held = self._held[step]
        if held is not None:
            return held
        found: Tensor = load_file(self._path(step), device=str(self._device))["state"]
        return found

    def take(self, step: int) -> Tensor:
        state = self.read(step)
        if self._held.pop(step) is None:
            self._path(step).unlink()
        return state

    def _path(self, step: int) -> Path:
        assert self._folder is not None
        return self._folder / f"state-{step:06d}.safetensors"


def _require_finite_values(
    values: np.ndarray, queries: Sequence[TokenRow], rows: Sequence[TokenRow]
) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        query, row = bad[0]
        raise NonFiniteError(
            f"the derivative through the run is {values[query, row]} for query {queries[query].id!r} and "
            f"training row {rows[row].id!r} ({len(bad)} such values): its steps are too large for "
            "one. Fine-tune with a lower --learning-rate."
        )


def _now(steps: Steps) -> float:
    if steps.model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
