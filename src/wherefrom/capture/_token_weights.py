"""What a backward pass starts from: the losses of the counted tokens, each with a weight."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
import xxhash
from torch import Tensor

from wherefrom.data import TokenRow
from wherefrom.errors import SettingError
from wherefrom.models import CountedLosses
from wherefrom.signals import BALANCED, LOSS_TARGET, MARGIN, SAMPLED

_MOST_CERTAIN = 1e-3
"""TRAK's 1/(1 − p) is clamped where the model is surer than 1 minus this."""


def first_tokens(target: str) -> int | None:
    """How many tokens `first5` counts; None for other targets."""
    match = re.fullmatch(r"first([1-9]\d*)", target)
    return int(match[1]) if match else None


def check_target(target: str) -> None:
    """Refuses a target that no pass knows.

    Raises:
        SettingError: the name means nothing.
    """
    known = (LOSS_TARGET, SAMPLED, MARGIN, BALANCED)
    if target not in known and first_tokens(target) is None:
        raise SettingError(f"no target is called {target!r}: {', '.join(known)}, or first5.")


def objective(
    target: str,
    found: CountedLosses,
    states: Tensor | None,
    rows: Sequence[TokenRow],
    reduction: Literal["mean", "sum"],
) -> Tensor:
    """The scalar whose gradient a backward pass takes: each row's weighted losses, added up.

    Args:
        target: `loss`: the recipe's mean or sum over counted tokens. `first5`: the same over the first
            five. `balanced`: each token weighs 1/(‖p − e_y‖·‖h‖), the norm of its gradient at the output
            layer, with the weights of a row adding up to what they do under `loss`. `margin`: weights
            1/(1 − p_y), so that the gradient is that of −Σ log(p/(1 − p)) (TRAK, 2303.14186).
            `sampled`: labels drawn from the model, weight 1/√tokens under `mean` and 1 under `sum`, so
            that the mean of the gradients' outer products estimates the Gauss–Newton matrix of the
            training loss.
        found: losses and logits of the batch.
        states: inputs of the output layer at the same positions; needed for `balanced`.
        rows: the rows themselves, which decide the labels drawn for them.
        reduction: of the recipe.
    """
    losses, counted = found.losses, found.counted
    if target == SAMPLED:
        losses = _sampled_losses(found, rows)
        counts = counted.sum(1, keepdim=True)
        weights = counted / counts.sqrt() if reduction == "mean" else counted.to(losses.dtype)
        return (losses * weights).sum()
    if target == MARGIN:
        sure = 1 - torch.exp(-losses.detach())
        return (losses * counted / sure.clamp(min=_MOST_CERTAIN)).sum()
    first = first_tokens(target)
    if first is not None:
        counted = counted & (counted.cumsum(1) <= first)
    weights = counted.to(losses.dtype)
    if reduction == "mean":
        weights = weights / counted.sum(1, keepdim=True)
    if target == BALANCED:
        assert states is not None
        weights = _balanced(weights, found, states)
    return (losses * weights).sum()


def _balanced(weights: Tensor, found: CountedLosses, states: Tensor) -> Tensor:
    with torch.no_grad():
        p = torch.softmax(found.logits.detach(), -1)
        error = (p.square().sum(-1) - 2 * torch.exp(-found.losses) + 1).clamp(min=0).sqrt()
        norms = (error * states.to(error.dtype).norm(dim=-1)).clamp(min=1e-6)
        turned = weights / norms
        balanced: Tensor = turned * weights.sum(1, keepdim=True) / turned.sum(1, keepdim=True)
        return balanced


def _sampled_losses(found: CountedLosses, rows: Sequence[TokenRow]) -> Tensor:
    labels = torch.zeros_like(found.counted, dtype=torch.long)
    for index, row in enumerate(rows):
        places = found.counted[index]
        with torch.no_grad():
            p = torch.softmax(found.logits[index][places].detach().double(), -1).cumsum(-1)
            draws = torch.from_numpy(_uniform(row, len(p))).to(p)
            chosen = torch.searchsorted(p, (draws * p[:, -1])[:, None]).squeeze(1)
            labels[index, places] = chosen.clamp(max=p.shape[-1] - 1)
    flat = F.cross_entropy(found.logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(found.losses)


def _uniform(row: TokenRow, count: int) -> np.ndarray:
    """Draws that depend on the row's content alone: equal rows draw equal labels."""
    seed = xxhash.xxh3_64_intdigest(row.ids.tobytes() + row.loss_mask.tobytes())
    return np.random.default_rng(seed).random(count)
