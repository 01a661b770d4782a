"""Dropout that falls on a row as it did in the planned batch, whichever rows share the forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Lines:
    """What the lines of a forward pass are.

    Attributes:
        owner: (lines,), number of the adapter that runs each line; or one number for all of them.
        place: (lines,), the row of the planned batch that each line is.
        rows: how many rows the planned batch has.
    """

    owner: Tensor | int = 0
    place: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.long))
    rows: int = 0


class PlannedDropout(nn.Module):
    """Draws the mask of the whole planned batch, as training on all of it does, and takes its lines.

    Args:
        p: share of the entries that are dropped.
        lines: which rows of the batch run; kept up to date by whoever runs the model.
    """

    def __init__(self, p: float, lines: Lines) -> None:
        super().__init__()
        self.p = p
        self.lines = lines

    def forward(self, x: Tensor) -> Tensor:
        """Drops entries in training, scaled by 1/(1 − p); x is lines × …, the same after."""
        if not self.training or self.p == 0:
            return x
        mask = F.dropout(x.new_ones((self.lines.rows, *x.shape[1:])), self.p)
        return x * mask[self.lines.place]


def plan_dropout(model: nn.Module, lines: Lines) -> None:
    """Puts `PlannedDropout` in the place of every dropout layer of a model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, PlannedDropout(child.p, lines))


def drops_attention(model: nn.Module) -> bool:
    """Whether attention weights are dropped inside a kernel, where no plan reaches."""
    config = getattr(model, "config", None)
    names = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")
    return any(float(getattr(config, name, 0) or 0) > 0 for name in names)
