"""Two-sided random projections of a weight matrix's gradient."""

from __future__ import annotations

import numpy as np

from wherefrom.signals import Block


def matrix_shape(block: Block) -> tuple[int, int]:
    """A block's shape as rows × columns; a bias is one column.

    Example:
        >>> matrix_shape(Block("bias", (8,)))
        (8, 1)
    """
    rows, *rest = block.shape
    return rows, int(np.prod(rest)) if rest else 1


def projections(block: Block, k: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    """P_o (k × rows) and P_i (k × columns), Gaussian with variance 1/k.

    A side no longer than k is left as it is: None. ⟨P_o G P_iᵀ, P_o H P_iᵀ⟩ is ⟨G, H⟩ in expectation
    (LoGra, 2405.13954). Seeded by the block's name and shape, so that queries captured later meet the same
    projection.
    """
    seed = [k, *block.shape, *block.name.encode("utf-8")]
    rng = np.random.default_rng(seed)

    def draw(length: int) -> np.ndarray | None:
        if length <= k:
            return None
        return rng.standard_normal((k, length), dtype=np.float32) / np.float32(np.sqrt(k))

    rows, columns = matrix_shape(block)
    return draw(rows), draw(columns)


def projected_block(block: Block, k: int) -> Block:
    """The block as `projections` leave it: its name, and sides no longer than k; a bias stays one axis.

    Example:
        >>> projected_block(Block("a", (4, 576)), 16).shape
        (4, 16)
    """
    rows, columns = matrix_shape(block)
    if rows <= k and columns <= k:
        return block
    shape = (min(rows, k),) if len(block.shape) == 1 else (min(rows, k), min(columns, k))
    return Block(block.name, shape)
