"""Movement: how far fine-tuning took each weight matrix, and in how many directions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

_PAIRS = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora_embedding_A", ".lora_embedding_B"),
)
_LAYER = re.compile(r"\.(?:layers|layer|h|blocks)\.(\d+)\.")
_EXACT = 128
ELSEWHERE = "elsewhere"
"""The layer of matrices that belong to none: embeddings, the output layer."""


@dataclass(frozen=True, eq=False)
class Change:
    """ΔW of one weight matrix, as the product of two factors or as it is.

    Attributes:
        left: out × m, or ΔW itself.
        right: m × in; None where `left` is ΔW itself.
    """

    left: np.ndarray
    right: np.ndarray | None = None

    @property
    def norm(self) -> float:
        """‖ΔW‖_F."""
        return float(np.linalg.norm(self._small()))

    def singular_values(self) -> np.ndarray:
        """Singular values of ΔW, largest first, (at most m,); of a bias its norm alone."""
        if self.left.ndim < 2:
            return np.array([self.norm])
        small = self._small()
        table = small.reshape(len(small), -1)
        if min(table.shape) <= _EXACT:
            return np.linalg.svd(table, compute_uv=False)
        # the smaller Gram matrix: far cheaper, and exact down to 1e-8 of the largest
        gram = table @ table.T if table.shape[0] <= table.shape[1] else table.T @ table
        return np.asarray(np.sqrt(np.clip(np.linalg.eigvalsh(gram)[::-1], 0.0, None)))

    def _small(self) -> np.ndarray:
        """A matrix with ΔW's singular values: R_left R_rightᵀ of the factors' QR, or ΔW itself."""
        if self.right is None:
            return self.left
        left, right = (np.linalg.qr(one, mode="r") for one in (self.left, self.right.T))
        return np.asarray(left @ np.transpose(right))


def changes(
    base: Mapping[str, np.ndarray] | None, now: Mapping[str, np.ndarray], scaling: float | None
) -> dict[str, Change]:
    """ΔW of every trained weight, by name; LoRA's two factors make one.

    Under LoRA, ΔW = scaling · (B A − B₀ A₀): adapters begin at B₀ = 0, unless they were trained before.

    Args:
        base: weights before the first step, by the same names; None where they are not known. Adapters
            then count from 0, other weights are left out.
        now: weights.
        scaling: α/r of adapters; None for a full fine-tune.
    """
    found, seen = {}, set()
    for ends in _PAIRS:
        for name in now:
            other = name.removesuffix(ends[0]) + ends[1]
            if scaling is None or not name.endswith(ends[0]) or other not in now:
                continue
            left, right = scaling * _table(now[other]), _table(now[name])
            if base is not None:
                left = np.hstack([left, -scaling * _table(base[other])])
                right = np.vstack([right, _table(base[name])])
            found[name.removesuffix(ends[0])] = Change(left, right)
            seen |= {name, other}
    if base is not None:
        for name, values in now.items():
            if name not in seen:
                found[name] = Change(values.astype(np.float64) - base[name])
    return found


def layer_norms(found: Mapping[str, Change]) -> dict[str, float]:
    """‖ΔW‖_F of all matrices of a layer together, by the layer's number, first to last."""
    squares: dict[str, float] = {}
    for name, one in found.items():
        place = _LAYER.search(name)
        layer = place.group(1) if place else ELSEWHERE
        squares[layer] = squares.get(layer, 0.0) + one.norm**2
    order = sorted(squares, key=lambda layer: (layer == ELSEWHERE, layer.zfill(6)))
    return {layer: float(np.sqrt(squares[layer])) for layer in order}


def effective_rank(singular_values: np.ndarray) -> float:
    """Between 1 and the rank: exp of the entropy of σ/Σσ; NaN where ΔW is 0.

    Source: Roy and Vetterli 2007, The effective rank (EUSIPCO).
    """
    total = singular_values.sum()
    if not total > 0:
        return float("nan")
    shares = singular_values[singular_values > 0] / total
    return float(np.exp(-(shares * np.log(shares)).sum()))


def _table(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float64).reshape(len(values), -1)
