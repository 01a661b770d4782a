"""The pass: one forward and as many backwards as there are targets, each row's signals read off."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from wherefrom.capture._arrays import (
    as_array,
    as_arrays,
    joined,
    per_row,
    pooled,
    require_finite,
    token_losses,
)
from wherefrom.capture._batch import Batch, make_batch
from wherefrom.capture._factor_sums import add_factors
from wherefrom.capture._sides import Sides
from wherefrom.capture._targets import Coverage, Target, find_targets
from wherefrom.capture._token_errors import ErrorProjection, OutputStates
from wherefrom.capture._token_weights import check_target, objective
from wherefrom.curvature import FactorSums
from wherefrom.data import TokenRow
from wherefrom.errors import ModelError
from wherefrom.models import CountedLosses, accepts, counted_losses, input_device
from wherefrom.signals import (
    BALANCED,
    LOSS,
    LOSS_TARGET,
    POOLS,
    SAMPLED,
    STATE_GRADIENT,
    TOKEN_ERROR,
    TOKEN_LOSS,
    TOKENS,
    Block,
    Kind,
    Need,
    SignalArray,
    gradient_name,
    hidden_name,
)


class Pass:
    """Runs token rows through a model and reads off every row's own signals.

    Gradients are those of the row's loss (mean or sum over the tokens that count): a descent step along
    one makes the row's response more likely. All parameters are frozen while the pass runs, so no
    weight gradient is ever formed; per-row gradients come from each traced layer's input and output
    gradient, one batched product a layer. The backward stops at the lowest traced layer. Several
    targets share one forward.

    Args:
        model: in evaluation mode afterwards; traced parameters have `requires_grad` beforehand.
        needs: which signals are wanted; sides and states are not looked at.
        reduction: a row's loss is the mean or sum over its counted tokens.
        pad_id: token id put on pads; never counted or attended to.
        padding_side: where batches are padded; results do not depend on it.
        blocks: regular expression choosing the traced blocks.
        error_dimension: rows of the projection that token errors are seen through.
        project: k of the two-sided projection that gradients are seen through (LoGra, 2405.13954): of a
            weight matrix's input and output gradient each, before their product; 0 for none.
        half: ask stores to keep gradients in half precision.

    Raises:
        ModelError: gradients are wanted and nothing can be traced.
        SettingError: a need names a target that no pass knows.
    """

    def __init__(
        self,
        model: nn.Module,
        needs: frozenset[Need],
        *,
        reduction: Literal["mean", "sum"] = "mean",
        pad_id: int = 0,
        padding_side: Literal["right", "left"] = "right",
        blocks: str | None = None,
        error_dimension: int = 256,
        project: int = 0,
        half: bool = False,
    ) -> None:
        self.model = model.eval()
        self.reduction = reduction
        self.pad_id = pad_id
        self.padding_side = padding_side
        self.kinds = {need.kind for need in needs}
        self.gradient_targets = sorted({n.target for n in needs if n.kind is Kind.GRADIENT})
        goals = set(self.gradient_targets)
        goals |= {LOSS_TARGET} if Kind.STATE_GRADIENT in self.kinds else set()
        goals |= {SAMPLED} if Kind.FACTORS in self.kinds else set()
        for goal in goals:
            check_target(goal)
        self._goals = sorted(goals)
        self.targets: list[Target] = []
        self.coverage = Coverage(0, 0, ())
        if goals:
            self.targets, self.coverage = find_targets(model, blocks)
        self.half = half
        self._sides = Sides(project)
        self._wanted = [p for p in model.parameters() if p.requires_grad]
        if padding_side == "left" and not accepts(model, "position_ids"):
            raise ModelError("this architecture takes no position_ids; pad on the right.")
        self._errors = ErrorProjection(error_dimension, reduction)
        self._outputs = OutputStates(model)
        self._needs_states = Kind.ERROR in self.kinds or BALANCED in goals
        self._goal = LOSS_TARGET
        self._gradients: dict[str, Tensor] = {}
        self._state_gradients: dict[int, Tensor] = {}
        self._factors = FactorSums()
        self._batch_factors = FactorSums()
        self._apart = False

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Traced blocks, in the model's order, as they are emitted."""
        pairs = [(target.weight, target.bias) for target in self.targets]
        return tuple(self._sides.block(b) for pair in pairs for b in pair if b is not None)

    @property
    def project(self) -> int:
        """K of the projection that gradients are seen through; 0 for none."""
        return self._sides.k

    @property
    def exact(self) -> bool:
        """Whether the model computes in float32 or better."""
        floats = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return all(dtype in (torch.float32, torch.float64) for dtype in floats)

    def arrays(self, rows: Sequence[TokenRow]) -> dict[str, list[SignalArray]]:
        """The arrays that the pass emits for these rows, by the need that asks for them."""
        longest = max((int(row.loss_mask.sum()) for row in rows), default=1)
        config: Any = self.model.config
        text = config.get_text_config()
        states = (text.num_hidden_layers + 1, text.hidden_size)
        found = {
            Need(Kind.LOSS).slug: [
                SignalArray(LOSS, ()),
                SignalArray(TOKENS, (), "int64"),
                SignalArray(TOKEN_LOSS, (longest,)),
            ]
        }
        if Kind.HIDDEN in self.kinds:
            pools = [SignalArray(hidden_name(pool), states) for pool in POOLS]
            found[Need(Kind.HIDDEN).slug] = pools
        if Kind.STATE_GRADIENT in self.kinds:
            found[Need(Kind.STATE_GRADIENT).slug] = [SignalArray(STATE_GRADIENT, states)]
        if Kind.ERROR in self.kinds:
            shape = (self._errors.size(text.vocab_size), text.hidden_size)
            found[Need(Kind.ERROR).slug] = [SignalArray(TOKEN_ERROR, shape)]
        for target in self.gradient_targets:
            found[Need(Kind.GRADIENT, target).slug] = [
                SignalArray(gradient_name(b.name, target), b.shape, half=self.half)
                for b in self.blocks
            ]
        return found

    def run(self, rows: Sequence[TokenRow]) -> dict[str, np.ndarray]:
        """Signals of one batch of rows.

        Out of memory halves the batch; a single row that does not fit is an error of its own.

        Returns:
            For each array its values, rows first. `loss` is the sum over counted tokens in nats.

        Raises:
            NonFiniteError: a loss or gradient is NaN or Inf; the row is named.
        """
        emitted = None
        try:
            emitted = self._run(rows)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
        if emitted is None:
            # not before the error is gone, whose traceback keeps the graph that did not fit
            self._gradients, self._state_gradients = {}, {}
            half = len(rows) // 2
            return joined([self.run(rows[:half]), self.run(rows[half:])])
        require_finite(emitted, rows)
        self._factors.merge(self._batch_factors)
        return emitted

    def by_position(self, row: TokenRow) -> dict[str, np.ndarray]:
        """Loss gradients of one row, taken apart over the positions they come about at.

        A weight matrix's gradient is Σ_t δ_t a_tᵀ: what went in at a position times what came back there.
        The sum over positions is what `run` gives.

        Returns:
            By name of the array, positions × the block's shape.

        Raises:
            NonFiniteError: a gradient is NaN or Inf.
        """
        self._apart = True
        try:
            batch = self._batch([row])
            with self._tracing():
                found = self._forward(batch)
                self._backward(LOSS_TARGET, found, [row], last=True)
            length = len(row.ids)
            parts = {
                gradient_name(block.name): as_array(self._gradient(block, length))
                for block in self.blocks
            }
        finally:
            self._apart = False
            self._gradients, self._state_gradients = {}, {}
        require_finite({name: values[None] for name, values in parts.items()}, [row])
        return parts

    def take_factors(self) -> FactorSums:
        """Kronecker factors added up over the rows that were run since they were last taken."""
        found, self._factors = self._factors, FactorSums()
        return found

    def verify(self, rows: Sequence[TokenRow], tolerance: float = 1e-3) -> float:
        """Compares the captured gradients with autograd's own, summed over a few rows.

        Catches what hooks cannot see: a weight used outside its module (DoRA), a module run on other
        rows' tokens, a fused kernel.

        Returns:
            The largest relative difference over blocks, in the norm of the block.

        Raises:
            ModelError: a block differs by more than `tolerance`.
        """
        if not self.targets:
            return 0.0
        with self._tracing():
            for parameter in self._wanted:
                parameter.requires_grad_(True)
                parameter.grad = None
            found = self._forward(self._batch(rows))
            self._backward(LOSS_TARGET, found, rows, last=True)
        worst = 0.0
        for target in self.targets:
            module: Any = target.module
            for block, parameter in ((target.weight, module.weight), (target.bias, module.bias)):
                if block is None:
                    continue
                assert isinstance(parameter, nn.Parameter)
                captured = self._gradient(self._sides.block(block), len(rows)).sum(0)
                expected = torch.zeros_like(captured)
                if parameter.grad is not None:
                    expected = self._sides.seen(block, parameter.grad.to(captured.dtype))
                scale = float(expected.norm()) + 1e-12
                difference = float((captured - expected.to(captured)).norm()) / scale
                if not difference <= tolerance and not np.isnan(scale):
                    raise ModelError(
                        f"the captured gradient of {block.name} differs from autograd's by "
                        f"{difference:.1%}: the weight is also used outside its layer (DoRA? a shared or "
                        "fused layer?). Leave it out with --blocks, or trace another adapter."
                    )
                worst = max(worst, difference)
        for parameter in self._wanted:
            parameter.grad = None
        self._gradients.clear()
        self._state_gradients.clear()
        return worst

    def _run(self, rows: Sequence[TokenRow]) -> dict[str, np.ndarray]:
        self._batch_factors = FactorSums()
        batch = self._batch(rows)
        with self._tracing():
            found = self._forward(batch)
            emitted = self._forward_signals(batch, found, rows)
            for goal in self._goals:
                self._backward(goal, found, rows, last=goal == self._goals[-1])
                if goal in self.gradient_targets:
                    names = [gradient_name(block.name, goal) for block in self.blocks]
                    found_here = [self._gradient(block, len(rows)) for block in self.blocks]
                    emitted |= zip(names, as_arrays(found_here), strict=True)
                if goal == LOSS_TARGET and Kind.STATE_GRADIENT in self.kinds:
                    emitted[STATE_GRADIENT] = self._stacked_state_gradients(found, len(rows))
                self._gradients.clear()
        if Kind.FACTORS in self.kinds:
            self._batch_factors.rows += len(rows)
        return emitted

    def _gradient(self, block: Block, rows: int) -> Tensor:
        # a layer that did not run (an expert that no token was sent to) has no gradient
        found = self._gradients.get(block.name)
        return torch.zeros(rows, *block.shape) if found is None else found

    def _forward(self, batch: Batch) -> CountedLosses:
        options: dict[str, Any] = {}
        if batch.attention is not None:
            options["attention_mask"] = batch.attention
            if accepts(self.model, "position_ids"):
                options["position_ids"] = batch.positions
        if Kind.HIDDEN in self.kinds or Kind.STATE_GRADIENT in self.kinds:
            options["output_hidden_states"] = True
        with torch.set_grad_enabled(bool(self.targets)):
            found = counted_losses(
                self.model,
                batch.labels,
                keep=batch.keep,
                input_ids=batch.ids,
                **options,
            )
        self._kept = found.counted
        self._kept_at = found.keep
        device = found.logits.device
        self._states = self._outputs.take(found.keep, device) if self._needs_states else None
        if Kind.STATE_GRADIENT in self.kinds:
            for layer, state in enumerate(found.outputs.hidden_states):
                if state.requires_grad:
                    state.register_hook(self._state_hook(layer, batch.prompt_ends))
        return found

    def _forward_signals(
        self, batch: Batch, found: CountedLosses, rows: Sequence[TokenRow]
    ) -> dict[str, np.ndarray]:
        emitted = {
            LOSS: as_array(found.losses.detach().sum(1)),
            TOKENS: np.array([row.loss_mask[1:].sum() for row in rows], dtype=np.int64),
            TOKEN_LOSS: token_losses(found.losses, found.counted, rows),
        }
        if Kind.HIDDEN in self.kinds:
            emitted |= pooled(found.outputs.hidden_states, batch.pools)
        if Kind.ERROR in self.kinds:
            assert self._states is not None
            emitted[TOKEN_ERROR] = as_array(self._errors(found, found.labels, self._states))
        return emitted

    def _backward(
        self, goal: str, found: CountedLosses, rows: Sequence[TokenRow], *, last: bool
    ) -> None:
        self._goal = goal
        self._gradients = {}
        self._state_gradients = {}
        with torch.enable_grad():
            start = objective(goal, found, self._states, rows, self.reduction)
        torch.autograd.backward(start, retain_graph=not last)

    @contextmanager
    def _tracing(self) -> Iterator[None]:
        flags = [(p, p.requires_grad) for p in self.model.parameters()]
        handles = [
            target.module.register_forward_hook(self._hook(target)) for target in self.targets
        ]
        if self._needs_states:
            handles.append(self._outputs.attach())
        if Kind.STATE_GRADIENT in self.kinds:
            # the graph must begin below every hidden state that a gradient is wanted of
            model: Any = self.model
            embeddings = model.get_input_embeddings()
            handles.append(embeddings.register_forward_hook(_begin_graph))
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            yield
        finally:
            for handle in handles:
                handle.remove()
            for parameter, flag in flags:
                parameter.requires_grad_(flag)

    def _hook(self, target: Target) -> Any:
        def forward(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            _begin_graph(module, inputs, output)
            if not torch.is_grad_enabled():
                return
            activation = inputs[0].detach()
            hooked: Any = output
            hooked.register_hook(lambda delta: self._collect(target, activation, delta))

        return forward

    def _collect(self, target: Target, activation: Tensor, delta: Tensor) -> None:
        rows = self._rows
        # an output layer's input may come from the device before
        a = per_row(activation.to(delta.device), rows, target)
        d = per_row(delta.detach(), rows, target)
        if self._goal == SAMPLED and Kind.FACTORS in self.kinds:
            length = a.shape[1]
            # the output layer sees the predicting positions alone
            seen = self._real if length == self._real.shape[1] else self._kept
            add_factors(self._batch_factors, target, a, d, seen)
            if SAMPLED not in self.gradient_targets:
                return
        if self._apart:
            a, d = self._positions(a), self._positions(d)
        if target.weight is not None:
            pair = (a, d) if target.transposed else (d, a)
            self._add(target.weight.name, self._sides.gradient(target.weight, *pair))
        if target.bias is not None:
            self._add(target.bias.name, self._sides.bias(target.bias, d.sum(1)))

    def _positions(self, values: Tensor) -> Tensor:
        """One row's positions as rows of one token each; those that a layer did not see are zero."""
        length = self._real.shape[1]
        found = values[0]
        if len(found) != length:
            # the output layer sees the predicting positions alone
            whole = found.new_zeros(length, found.shape[-1])
            whole[self._kept_at.to(found.device)] = found
            found = whole
        return found[:, None]

    def _add(self, name: str, gradient: Tensor) -> None:
        # a module that runs twice in one forward contributes twice
        held = self._gradients.get(name)
        self._gradients[name] = gradient if held is None else held + gradient

    def _state_hook(self, layer: int, ends: Tensor) -> Any:
        def take(gradient: Tensor) -> None:
            if self._goal == LOSS_TARGET:
                at = torch.arange(len(ends), device=gradient.device)
                self._state_gradients[layer] = gradient[at, ends.to(gradient.device)].detach()

        return take

    def _stacked_state_gradients(self, found: CountedLosses, rows: int) -> np.ndarray:
        like = found.outputs.hidden_states[0]
        zero = torch.zeros(rows, like.shape[-1], dtype=like.dtype, device=like.device)
        layers = range(len(found.outputs.hidden_states))
        held = [self._state_gradients.get(i, zero).to(zero.device) for i in layers]
        return as_array(torch.stack(held, 1).float())

    def _batch(self, rows: Sequence[TokenRow]) -> Batch:
        device = input_device(self.model)
        batch = make_batch(rows, self.pad_id, self.padding_side, device)
        self._rows = len(rows)
        self._real = batch.real
        return batch


def _begin_graph(_: nn.Module, __: tuple[Tensor, ...], output: Tensor) -> None:
    # below the lowest traced layer nothing needs a gradient: the graph begins here
    if torch.is_grad_enabled() and not output.requires_grad:
        output.requires_grad_(True)
