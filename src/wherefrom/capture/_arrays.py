"""Tensors of a batch as arrays of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wherefrom.capture._targets import Target
from wherefrom.data import TokenRow
from wherefrom.errors import ModelError, NonFiniteError
from wherefrom.signals import POOLS, TOKEN_LOSS, Block, hidden_name


def per_row(tensor: Tensor, rows: int, target: Target) -> Tensor:
    """A layer's input or output gradient as rows × tokens × width.

    Raises:
        ModelError: the layer mixes rows.
    """
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


def pooled(states: tuple[Tensor, ...], weights: Tensor) -> dict[str, np.ndarray]:
    """Hidden states of every layer, pooled: rows × layers × width for each pool."""
    layers = []
    for state in states:
        state = state.detach()
        state = state.float() if state.dtype in (torch.bfloat16, torch.float16) else state
        layers.append(torch.bmm(weights.to(state), state).to(weights.device))
    pooled = torch.stack(layers, 2)
    return {hidden_name(pool): as_array(pooled[:, i]) for i, pool in enumerate(POOLS)}


def as_array(tensor: Tensor) -> np.ndarray:
    """A tensor as an array on the CPU."""
    return np.asarray(tensor.detach().cpu().numpy())


def as_arrays(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Rows of several tensors as arrays; those of one accelerator come over in one copy."""
    device = tensors[0].device if tensors else torch.device("cpu")
    if device.type == "cpu" or any(
        t.device != device or t.dtype != tensors[0].dtype for t in tensors
    ):
        return [as_array(tensor) for tensor in tensors]
    return split(as_array(torch.cat([t.reshape(len(t), -1) for t in tensors], 1)), tensors)


def split(values: np.ndarray, like: Sequence[Tensor]) -> list[np.ndarray]:
    """Columns of an array, rows × entries of all tensors, in the shape of each tensor."""
    ends = np.cumsum([tensor[0].numel() for tensor in like])
    parts = np.split(values, ends[:-1], axis=1)
    return [part.reshape(tuple(t.shape)) for part, t in zip(parts, like, strict=True)]


def token_losses(losses: Tensor, counted: Tensor, rows: Sequence[TokenRow]) -> np.ndarray:
    """Losses of each row's counted tokens, rows × the most that a row counts, 0 behind the last."""
    longest = max(int(row.loss_mask.sum()) for row in rows)
    values = np.zeros((len(rows), longest), dtype=np.float32)
    for line, found, places in zip(values, as_array(losses), as_array(counted), strict=True):
        line[: places.sum()] = found[places]
    return values


def joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Batches put end to end, token losses padded to the longest."""
    longest = max(part[TOKEN_LOSS].shape[1] for part in parts)
    for part in parts:
        gap = longest - part[TOKEN_LOSS].shape[1]
        part[TOKEN_LOSS] = np.pad(part[TOKEN_LOSS], ((0, 0), (0, gap)))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def require_finite(emitted: dict[str, np.ndarray], rows: Sequence[TokenRow]) -> None:
    """Refuses NaN and Inf.

    Raises:
        NonFiniteError: the row is named.
    """
    for name, values in emitted.items():
        bad = ~np.isfinite(values.reshape(len(rows), -1)).all(1)
        if bad.any():
            row = rows[int(np.argmax(bad))]
            raise NonFiniteError(
                f"row {row.id!r}: {name} is NaN or Inf. Check the model's and adapter's weights for NaN "
                "(a diverged fine-tune?), or run in float32."
            )
