"""Batches: token rows padded to one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from wherefrom.data import TokenRow
from wherefrom.models import IGNORED
from wherefrom.signals import POOLS


@dataclass
class Batch:
    """Rows padded to one length, as tensors on the model's device.

    Attributes:
        ids: rows × T, token ids.
        attention: rows × T, 0 where nothing is attended to; None where causal attention alone will do,
            since all rows begin at once and only pads behind their ends are left out.
        real: rows × T, whether a token is one of the row's and attended to.
        positions: rows × T, counted from the row's own start.
        labels: rows × T, the ids whose loss counts, `IGNORED` elsewhere.
        keep: (positions,), where in the rows some counted token is predicted.
        pools: rows × pools × T, weights of each pool's mean.
        prompt_ends: (rows,), where the last prompt token is.
    """

    ids: Tensor
    attention: Tensor | None
    real: Tensor
    positions: Tensor
    labels: Tensor
    keep: Tensor
    pools: Tensor
    prompt_ends: Tensor


def make_batch(
    rows: Sequence[TokenRow],
    pad_id: int,
    padding_side: Literal["right", "left"],
    device: torch.device,
) -> Batch:
    """Pads rows to the longest."""
    length = max(len(row.ids) for row in rows)
    shape = (len(rows), length)
    ids = np.full(shape, pad_id, dtype=np.int64)
    attention = np.zeros(shape, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    labels = np.full(shape, IGNORED, dtype=np.int64)
    pools = np.zeros((len(rows), len(POOLS), length), dtype=np.float32)
    ends = np.zeros(len(rows), dtype=np.int64)
    for index, row in enumerate(rows):
        n = len(row.ids)
        start = length - n if padding_side == "left" else 0
        at = slice(start, start + n)
        ids[index, at] = row.ids
        attention[index, at] = row.attention
        positions[index, at] = np.arange(n)
        labels[index, at] = np.where(row.loss_mask, row.ids, IGNORED)
        pools[index, :, at] = _pool_weights(row)
        ends[index] = start + row.prompt_end
    keep = np.flatnonzero((labels[:, 1:] != IGNORED).any(0))
    arrays = (ids, attention, attention.astype(bool), positions, labels, keep, pools, ends)
    batch = Batch(*(torch.from_numpy(a).to(device) for a in arrays))
    if padding_side == "right" and all(row.attention.all() for row in rows):
        # without a mask attention has faster kernels, and the pads come after all that counts
        batch.attention = None
    return batch


def _pool_weights(row: TokenRow) -> np.ndarray:
    """Weights of the positions of a row in each pool, pools × T; each sums to one."""
    at = np.arange(len(row.ids))
    prompt = row.attention & (at <= row.prompt_end)
    masks = np.stack([at == row.prompt_end, prompt, row.response_mask, row.attention])
    return np.asarray(masks / np.maximum(1, masks.sum(1, keepdims=True)), dtype=np.float32)
