"""The pass: one forward and one backward, per-row gradients, hidden states and losses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from wherefrom.capture._targets import Coverage, Target, find_targets
from wherefrom.data import TokenRow
from wherefrom.errors import ModelError, NonFiniteError
from wherefrom.models import IGNORED, accepts, counted_losses
from wherefrom.signals import (
    LOSS,
    POOLS,
    TOKEN_LOSS,
    TOKENS,
    Block,
    Need,
    SignalArray,
    gradient_name,
    hidden_name,
)


@dataclass
class Batch:
    """Rows padded to one length, as tensors on the model's device."""

    ids: Tensor
    attention: Tensor
    positions: Tensor
    labels: Tensor
    pools: Tensor


class Pass:
    """Runs token rows through a model and reads off every row's own signals.

    Gradients are those of the row's loss (mean or sum over the tokens that count): a descent step along
    one makes the row's response more likely. All parameters are frozen while the pass runs, so no
    weight gradient is ever formed; per-row gradients come from each traced layer's input and output
    gradient, one batched product a layer. The backward stops at the lowest traced layer.

    Args:
        model: in evaluation mode afterwards; traced parameters have `requires_grad` beforehand.
        needs: which signals are wanted.
        reduction: a row's loss is the mean or sum over its counted tokens.
        pad_id: token id put on pads; never counted or attended to.
        padding_side: where batches are padded; results do not depend on it.
        blocks: regular expression choosing the traced blocks.

    Raises:
        ModelError: gradients are wanted and nothing can be traced.
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
    ) -> None:
        self.model = model.eval()
        self.needs = needs
        self.reduction = reduction
        self.pad_id = pad_id
        self.padding_side = padding_side
        self.targets: list[Target] = []
        self.coverage = Coverage(0, 0, ())
        if Need.GRADIENT in needs:
            self.targets, self.coverage = find_targets(model, blocks)
        self._wanted = [p for p in model.parameters() if p.requires_grad]
        if padding_side == "left" and not accepts(model, "position_ids"):
            raise ModelError("this architecture takes no position_ids; pad on the right.")
        self._gradients: dict[str, Tensor] = {}

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Traced blocks, in the model's order."""
        pairs = [(target.weight, target.bias) for target in self.targets]
        return tuple(block for pair in pairs for block in pair if block is not None)

    @property
    def exact(self) -> bool:
        """Whether the model computes in float32 or better."""
        return all(p.dtype in (torch.float32, torch.float64) for p in self.model.parameters())

    def arrays(self, rows: Sequence[TokenRow]) -> list[SignalArray]:
        """The arrays that the pass emits for these rows."""
        longest = max((int(row.loss_mask.sum()) for row in rows), default=1)
        found = [
            SignalArray(LOSS, ()),
            SignalArray(TOKENS, (), "int64"),
            SignalArray(TOKEN_LOSS, (longest,)),
        ]
        if Need.HIDDEN in self.needs:
            config: Any = self.model.config
            text = config.get_text_config()
            shape = (text.num_hidden_layers + 1, text.hidden_size)
            found += [SignalArray(hidden_name(pool), shape) for pool in POOLS]
        found += [SignalArray(gradient_name(b.name), b.shape) for b in self.blocks]
        return found

    def run(self, rows: Sequence[TokenRow]) -> dict[str, np.ndarray]:
        """Signals of one batch of rows.

        Out of memory halves the batch; a single row that does not fit is an error of its own.

        Returns:
            For each array its values, rows first. `loss` is the sum over counted tokens in nats.

        Raises:
            NonFiniteError: a loss or gradient is NaN or Inf; the row is named.
        """
        try:
            emitted = self._run(rows)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            self._gradients.clear()
            half = len(rows) // 2
            return _joined([self.run(rows[:half]), self.run(rows[half:])])
        _require_finite(emitted, rows)
        return emitted

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
            self._forward_backward(self._batch(rows), rows)
        worst = 0.0
        for target in self.targets:
            module: Any = target.module
            for block, parameter in ((target.weight, module.weight), (target.bias, module.bias)):
                if block is None:
                    continue
                assert isinstance(parameter, nn.Parameter)
                captured = self._gradient(block, len(rows)).sum(0)
                expected = torch.zeros_like(captured) if parameter.grad is None else parameter.grad
                scale = float(expected.norm()) + 1e-12
                difference = float((captured - expected.to(captured.dtype)).norm()) / scale
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
        return worst

    def _run(self, rows: Sequence[TokenRow]) -> dict[str, np.ndarray]:
        with self._tracing():
            emitted = self._forward_backward(self._batch(rows), rows)
        for block in self.blocks:
            emitted[gradient_name(block.name)] = _array(self._gradient(block, len(rows)))
        self._gradients.clear()
        return emitted

    def _gradient(self, block: Block, rows: int) -> Tensor:
        # a layer that did not run (an expert that no token was sent to) has no gradient
        found = self._gradients.get(block.name)
        device = next(self.model.parameters()).device
        return torch.zeros(rows, *block.shape, device=device) if found is None else found

    def _forward_backward(self, batch: Batch, rows: Sequence[TokenRow]) -> dict[str, np.ndarray]:
        options: dict[str, Any] = {}
        if accepts(self.model, "position_ids"):
            options["position_ids"] = batch.positions
        if Need.HIDDEN in self.needs:
            options["output_hidden_states"] = True
        with torch.set_grad_enabled(bool(self.targets)):
            found = counted_losses(
                self.model,
                batch.labels,
                input_ids=batch.ids,
                attention_mask=batch.attention,
                **options,
            )
            per_row, count = found.losses.sum(1), found.counted.sum(1)
            if self.targets:
                self._gradients = {}
                weighted = per_row / count if self.reduction == "mean" else per_row
                torch.autograd.backward(weighted.sum())
        emitted = {
            LOSS: _array(per_row.detach()),
            TOKENS: count.cpu().numpy().astype(np.int64),
            TOKEN_LOSS: self._token_losses(found.losses.detach(), found.counted, rows),
        }
        if Need.HIDDEN in self.needs:
            emitted |= _pooled(found.outputs.hidden_states, batch.pools)
        return emitted

    @contextmanager
    def _tracing(self) -> Iterator[None]:
        flags = [(p, p.requires_grad) for p in self.model.parameters()]
        handles = [
            target.module.register_forward_hook(self._hook(target)) for target in self.targets
        ]
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
        def forward(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if not torch.is_grad_enabled():
                return
            activation = inputs[0].detach()
            if not output.requires_grad:
                # below the lowest traced layer nothing needs a gradient: the graph begins here
                output.requires_grad_(True)
            hooked: Any = output
            hooked.register_hook(lambda delta: self._collect(target, activation, delta))

        return forward

    def _collect(self, target: Target, activation: Tensor, delta: Tensor) -> None:
        rows = self._rows
        a, d = _per_row(activation, rows, target), _per_row(delta.detach(), rows, target)
        if target.weight is not None:
            pair = (a, d) if target.transposed else (d, a)
            self._add(target.weight.name, torch.bmm(pair[0].transpose(1, 2), pair[1]))
        if target.bias is not None:
            self._add(target.bias.name, d.sum(1))

    def _add(self, name: str, gradient: Tensor) -> None:
        # a module that runs twice in one forward contributes twice
        held = self._gradients.get(name)
        self._gradients[name] = gradient if held is None else held + gradient

    def _batch(self, rows: Sequence[TokenRow]) -> Batch:
        length = max(len(row.ids) for row in rows)
        shape = (len(rows), length)
        ids = np.full(shape, self.pad_id, dtype=np.int64)
        attention = np.zeros(shape, dtype=np.int64)
        positions = np.zeros(shape, dtype=np.int64)
        labels = np.full(shape, IGNORED, dtype=np.int64)
        pools = np.zeros((len(rows), len(POOLS), length), dtype=np.float32)
        for index, row in enumerate(rows):
            n = len(row.ids)
            at = slice(length - n, length) if self.padding_side == "left" else slice(0, n)
            ids[index, at] = row.ids
            attention[index, at] = row.attention
            positions[index, at] = np.arange(n)
            labels[index, at] = np.where(row.loss_mask, row.ids, IGNORED)
            pools[index, :, at] = _pool_weights(row)
        self._rows = len(rows)
        device = next(self.model.parameters()).device
        tensors = (
            torch.from_numpy(a).to(device) for a in (ids, attention, positions, labels, pools)
        )
        return Batch(*tensors)

    def _token_losses(
        self, losses: Tensor, counted: Tensor, rows: Sequence[TokenRow]
    ) -> np.ndarray:
        longest = max(int(row.loss_mask.sum()) for row in rows)
        values = np.zeros((len(rows), longest), dtype=np.float32)
        for index in range(len(rows)):
            found = _array(losses[index][counted[index]])
            values[index, : len(found)] = found
        return values


def _per_row(tensor: Tensor, rows: int, target: Target) -> Tensor:
    if tensor.shape[0] != rows:
        if tensor.dim() != 2 or tensor.shape[0] % rows:
            name = (target.weight or target.bias or Block("?", ())).name
            raise ModelError(
                f"{name}: its layer mixes rows (shape {tuple(tensor.shape)} for {rows} rows), so a row's "
                "own gradient cannot be read there. Leave it out with --blocks."
            )
        tensor = tensor.reshape(rows, -1, tensor.shape[-1])
    tensor = tensor.reshape(rows, -1, tensor.shape[-1])
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _pool_weights(row: TokenRow) -> np.ndarray:
    """Weights of the positions of a row in each pool, pools × T; each sums to one."""
    at = np.arange(len(row.ids))
    prompt = row.attention & (at <= row.prompt_end)
    masks = np.stack([at == row.prompt_end, prompt, row.response_mask, row.attention])
    return np.asarray(masks / np.maximum(1, masks.sum(1, keepdims=True)), dtype=np.float32)


def _pooled(states: tuple[Tensor, ...], weights: Tensor) -> dict[str, np.ndarray]:
    layers = []
    for state in states:
        state = state.detach()
        state = state.float() if state.dtype in (torch.bfloat16, torch.float16) else state
        layers.append(torch.bmm(weights.to(state.dtype), state))
    pooled = torch.stack(layers, 2)
    return {hidden_name(pool): _array(pooled[:, i]) for i, pool in enumerate(POOLS)}


def _array(tensor: Tensor) -> np.ndarray:
    return np.asarray(tensor.detach().cpu().numpy())


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    longest = max(part[TOKEN_LOSS].shape[1] for part in parts)
    for part in parts:
        gap = longest - part[TOKEN_LOSS].shape[1]
        part[TOKEN_LOSS] = np.pad(part[TOKEN_LOSS], ((0, 0), (0, gap)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _require_finite(emitted: dict[str, np.ndarray], rows: Sequence[TokenRow]) -> None:
    for name, values in emitted.items():
        bad = ~np.isfinite(values.reshape(len(rows), -1)).all(1)
        if bad.any():
            row = rows[int(np.argmax(bad))]
            raise NonFiniteError(
                f"row {row.id!r}: {name} is NaN or Inf. Check the model's and adapter's weights for NaN "
                "(a diverged fine-tune?), or run in float32."
            )
