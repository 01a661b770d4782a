"""The precision guard: do gradients in bfloat16 point where those in float32 do?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

WHOLE = 0.99
"""Least cosine of a row's whole gradient with that in float32."""
BLOCK = 0.95
"""Least cosine of a block's gradients of all rows together."""


@dataclass(frozen=True)
class Agreement:
    """Cosines of the gradients of a few rows in two precisions.

    Attributes:
        rows: of each row's whole gradient.
        blocks: of each block, over all rows together.
    """

    rows: np.ndarray
    blocks: dict[str, float]

    @property
    def lowest_row(self) -> float:
        """Of the row that is worst off; 1 where no row has a gradient."""
        return float(self.rows.min(initial=1.0))

    @property
    def lowest_block(self) -> tuple[str, float]:
        """The block that is worst off."""
        return min(self.blocks.items(), key=lambda pair: pair[1], default=("none", 1.0))

    @property
    def good(self) -> bool:
        """Whether every row and every block is above the bar."""
        return self.lowest_row >= WHOLE and self.lowest_block[1] >= BLOCK

    def describe(self) -> str:
        """One line for people."""
        name, lowest = self.lowest_block
        return (
            f"gradients of {len(self.rows)} rows in bfloat16 against float32: cosine of a whole gradient "
            f"≥ {self.lowest_row:.4f} (bar {WHOLE}), of a block ≥ {lowest:.4f} ({name}; bar {BLOCK})"
        )


def agreement(exact: Mapping[str, np.ndarray], rounded: Mapping[str, np.ndarray]) -> Agreement:
    """Compares gradients (rows × a block's shape, by name of the block); NaN agrees with nothing.

    Gradients that are zero in float32 (LoRA's A while B is zero) are left out.
    """
    products, first, second = {}, {}, {}
    for name, values in exact.items():
        one, other = (x.reshape(len(x), -1).astype(np.float64) for x in (values, rounded[name]))
        products[name] = np.einsum("np,np->n", one, other)
        first[name] = np.einsum("np,np->n", one, one)
        second[name] = np.einsum("np,np->n", other, other)
    blocks = {
        name: float(_cosine(products[name].sum(), first[name].sum(), second[name].sum()))
        for name in exact
        if first[name].any()
    }
    whole = _cosine(
        *(np.sum([found[name] for name in exact], 0) for found in (products, first, second))
    )
    kept = np.sum([first[name] for name in exact], 0) > 0
    return Agreement(whole[kept], blocks)


def _cosine(product: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    found = product / np.maximum(np.sqrt(first * second), 1e-300)
    return np.where(np.isfinite(found), found, -1.0)
