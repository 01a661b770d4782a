"""The loss both training and capture see: next-token cross-entropy where a label counts."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wherefrom.models._placement import is_spread

IGNORED = -100
"""The label of a token whose loss does not count."""


@dataclass
class CountedLosses:
    """Losses of one batch at the positions where some row counts one.

    Attributes:
        losses: float32 (or float64), rows × positions, in nats; 0 where the row does not count it.
        counted: bool, rows × positions.
        labels: rows × positions, the predicted tokens' ids; `IGNORED` where the row does not count one.
        logits: rows × positions × vocabulary, of the positions that predict these tokens.
        keep: (positions,), where in the row those predicting positions are.
        outputs: whatever the model returned.
    """

    losses: Tensor
    counted: Tensor
    labels: Tensor
    logits: Tensor
    keep: Tensor
    outputs: Any


def accepts(model: nn.Module, argument: str) -> bool:
    """Whether the model's forward takes an argument, looking through a PEFT wrapper."""
    inner: Any = model
    if hasattr(model, "get_base_model"):
        inner = inner.get_base_model()
    # of the class: trainers put wrappers with other signatures on the instance
    return argument in inspect.signature(type(inner).forward).parameters


def counted_losses(
    model: nn.Module, labels: Tensor, *, keep: Tensor | None = None, **inputs: Any
) -> CountedLosses:
    """Runs a model and takes the loss of every counted token.

    Hidden states become logits only at positions that predict a counted token of some row, by the
    model's own head (soft caps and scales included), where its forward knows `logits_to_keep`.

    Args:
        model: a causal language model.
        labels: rows × T, token ids or `IGNORED`; position 0 never counts.
        keep: (positions,), the predicting positions of all rows where the caller knows them; finding them
            in `labels` makes an accelerator wait.
        **inputs: what the model's forward takes.
    """
    if keep is None:
        # logits at t predict the token at t + 1
        keep = (labels[:, 1:] != IGNORED).any(0).nonzero().squeeze(1)
    if is_spread(model):
        keep = keep.cpu()
    targets = labels[:, 1:][:, keep]
    if accepts(model, "logits_to_keep"):
        outputs = model(**inputs, use_cache=False, logits_to_keep=keep)
        logits = outputs.logits
    else:
        outputs = model(**inputs, use_cache=False)
        logits = outputs.logits[:, keep]
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    targets = targets.to(logits.device)
    losses = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=IGNORED
    )
    counted = targets != IGNORED
    return CountedLosses(losses.view_as(targets), counted, targets, logits, keep, outputs)
