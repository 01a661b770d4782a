"""Sides: what the rows and the columns of a block's gradients are seen through."""

from __future__ import annotations

import torch
from torch import Tensor

from wherefrom.curvature import projected_block, projections
from wherefrom.signals import Block


class Sides:
    """Two-sided projections of blocks, on the device where each block's gradients come about.

    A per-row gradient is a product of two tall matrices (tokens × rows, tokens × columns); each of them is
    projected before the product, so that the gradient itself is never formed (LoGra, 2405.13954).

    Args:
        k: longest side that is left; 0 projects nothing.
    """

    def __init__(self, k: int) -> None:
        self.k = k
        self._drawn: dict[str, tuple[Tensor | None, Tensor | None]] = {}

    def block(self, block: Block) -> Block:
        """The block as it is emitted."""
        return projected_block(block, self.k) if self.k else block

    def gradient(self, block: Block, rows: Tensor, columns: Tensor) -> Tensor:
        """Per-row gradients of a weight matrix.

        Args:
            block: whose.
            rows: rows × tokens × rows of the weight.
            columns: rows × tokens × columns of the weight.

        Returns:
            Rows × rows of the weight × its columns, each side no longer than k.
        """
        left, right = self._of(block, rows)
        rows = rows if left is None else rows @ left.T
        columns = columns if right is None else columns @ right.T
        return torch.bmm(rows.transpose(1, 2), columns)

    def bias(self, block: Block, summed: Tensor) -> Tensor:
        """Per-row gradients of a bias, rows × entries, no more than k."""
        left, _ = self._of(block, summed)
        return summed if left is None else summed @ left.T

    def seen(self, block: Block, gradient: Tensor) -> Tensor:
        """What is left of one gradient in the block's own shape."""
        left, right = self._of(block, gradient)
        gradient = gradient if left is None else left @ gradient
        return gradient if right is None else gradient @ right.T

    def _of(self, block: Block, like: Tensor) -> tuple[Tensor | None, Tensor | None]:
        if not self.k:
            return None, None
        if block.name not in self._drawn:
            left, right = projections(block, self.k)
            self._drawn[block.name] = (
                None if left is None else torch.from_numpy(left).to(like),
                None if right is None else torch.from_numpy(right).to(like),
            )
        return self._drawn[block.name]
