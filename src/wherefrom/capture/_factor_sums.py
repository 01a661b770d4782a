"""Kronecker factors of one layer, from its inputs and output gradients under drawn labels."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from wherefrom.capture._arrays import as_array
from wherefrom.capture._targets import Target
from wherefrom.curvature import FactorSums
from wherefrom.errors import ModelError
from wherefrom.signals import Block


def add_factors(
    sums: FactorSums, target: Target, activation: Tensor, delta: Tensor, seen: Tensor
) -> None:
    """Adds Σ a aᵀ and Σ δ δᵀ over the tokens of a batch (Martens & Grosse 2015).

    Args:
        sums: where to.
        target: the layer.
        activation: rows × tokens × inputs.
        delta: rows × tokens × outputs.
        seen: rows × tokens, which of them are no pads.

    Raises:
        ModelError: the layer sees other tokens than the rows have.
    """
    real = seen.flatten().bool().to(activation.device)
    if len(real) != activation.shape[0] * activation.shape[1]:
        raise ModelError(
            f"{(target.weight or target.bias or Block('?', ())).name}: its layer sees other tokens than "
            "the row has, so Kronecker factors cannot be taken there. Leave it out with --blocks."
        )
    a, d = activation.flatten(0, 1)[real], delta.flatten(0, 1)[real]
    inner, outer, tokens = a.T @ a, d.T @ d, len(a)
    if target.weight is not None:
        pair = (inner, outer) if target.transposed else (outer, inner)
        sums.add(target.weight.name, as_array(pair[0]), as_array(pair[1]), tokens)
    if target.bias is not None:
        sums.add(target.bias.name, as_array(outer), np.ones((1, 1)), tokens)
