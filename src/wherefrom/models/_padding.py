"""Rows padded on the right into the tensors that training runs on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from wherefrom.data import TokenRow
from wherefrom.models._loss import IGNORED


def pad_rows(
    rows: Sequence[TokenRow], pad_id: int, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """Pads rows to the longest of them.

    Args:
        rows: at least one.
        pad_id: what stands in the ids after a row's end; never attended to or counted.
        device: where the tensors go.

    Returns:
        `input_ids`, `attention_mask` and `labels` (`IGNORED` where the loss does not count), each int64,
        rows × T.
    """
    length = max(len(row.ids) for row in rows)

    def padded(values: list[np.ndarray], fill: int) -> torch.Tensor:
        table = np.full((len(rows), length), fill, dtype=np.int64)
        for line, value in zip(table, values, strict=True):
            line[: len(value)] = value
        return torch.from_numpy(table).to(device)

    labels = [np.where(row.loss_mask, row.ids, IGNORED) for row in rows]
    return {
        "input_ids": padded([row.ids for row in rows], pad_id),
        "attention_mask": padded([row.attention for row in rows], 0),
        "labels": padded(labels, IGNORED),
    }
