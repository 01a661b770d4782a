"""Kronecker-factored curvature: K-FAC and EK-FAC."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg


@dataclass(frozen=True)
class KroneckerFactors:
    """The two factors of a block's curvature, F ≈ T̄ · left ⊗ right (Martens & Grosse 2015).

    For a linear layer y = W a, one factor is E[a aᵀ] over all tokens that are no pads, the other E[δ̂ δ̂ᵀ]
    with δ̂ the gradient at y under labels drawn from the model; `left` belongs to the rows of the
    weight as it is stored. A bias has a factor for its only axis, and 1 for the other.

    Attributes:
        left: rows × rows of the weight.
        right: columns × columns of the weight; 1 × 1 for a bias.
        tokens: T̄, tokens of a row in the mean, which the factors are means over.
    """

    left: np.ndarray
    right: np.ndarray
    tokens: float

    @cached_property
    def bases(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues and eigenvectors of left, then of right."""
        left, left_vectors = scipy.linalg.eigh(np.asarray(self.left, np.float64))
        right, right_vectors = scipy.linalg.eigh(np.asarray(self.right, np.float64))
        return np.maximum(left, 0), left_vectors, np.maximum(right, 0), right_vectors

    @property
    def eigenvalues(self) -> np.ndarray:
        """K-FAC's eigenvalues of F in the bases of the factors, rows × columns of the weight."""
        left, _, right, _ = self.bases
        return self.tokens * np.outer(left, right)

    def rotate(self, values: np.ndarray) -> np.ndarray:
        """Gradients (rows × the weight's shape) in the bases of the factors, rows × left × right."""
        _, left, _, right = self.bases
        matrices = np.asarray(values, np.float64).reshape(len(values), len(left), len(right))
        return np.asarray(left.T @ matrices @ right)

    def back(self, values: np.ndarray) -> np.ndarray:
        """The inverse of `rotate`."""
        _, left, _, right = self.bases
        return np.asarray(left @ values @ right.T)

    def corrected(self, sampled: Iterator[tuple[np.ndarray, np.ndarray]], rows: int) -> np.ndarray:
        """EK-FAC's eigenvalues: Λ = mean over rows of (rotated ĝ)² (George et al. 2018; 2308.03296).

        Args:
            sampled: row numbers and gradients under labels drawn from the model, a chunk at a time.
            rows: how many there are.
        """
        left, _, right, _ = self.bases
        found = np.zeros((len(left), len(right)))
        for _, values in sampled:
            found += (self.rotate(values) ** 2).sum(0)
        return found / max(1, rows)


class FactorSums:
    """Adds up factors over tokens, block by block; in float64.

    Attributes:
        sums: by block, Σ over tokens of the left and the right factor.
        tokens: by block, tokens seen.
        rows: rows seen.
    """

    def __init__(self) -> None:
        self.sums: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.tokens: dict[str, int] = {}
        self.rows = 0
        self._last: tuple[str, KroneckerFactors] | None = None

    def add(self, block: str, left: np.ndarray, right: np.ndarray, tokens: int) -> None:
        """Adds sums over the tokens of a batch."""
        self._last = None
        held = self.sums.get(block)
        self.sums[block] = (
            (left.astype(np.float64), right.astype(np.float64))
            if held is None
            else (held[0] + left, held[1] + right)
        )
        self.tokens[block] = self.tokens.get(block, 0) + tokens

    def merge(self, other: FactorSums) -> None:
        """Adds another's sums."""
        for block, (left, right) in other.sums.items():
            self.add(block, left, right, other.tokens[block])
        self.rows += other.rows

    def arrays(self) -> dict[str, np.ndarray]:
        """All of it as named arrays."""
        found = {"rows": np.array([self.rows], dtype=np.int64)}
        for block, (left, right) in self.sums.items():
            tokens = np.array([self.tokens[block]], dtype=np.int64)
            found |= {f"left/{block}": left, f"right/{block}": right, f"tokens/{block}": tokens}
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> FactorSums:
        """The inverse of `arrays`."""
        found = cls()
        found.rows = int(arrays["rows"][0])
        for name, left in arrays.items():
            if name.startswith("left/"):
                block = name.removeprefix("left/")
                found.sums[block] = (left, arrays[f"right/{block}"])
                found.tokens[block] = int(arrays[f"tokens/{block}"][0])
        return found

    def factors(self, block: str) -> KroneckerFactors:
        """The factors of one block; the last one's are kept, with their decomposition.

        Raises:
            KeyError: the block was not seen.
        """
        last = self._last  # once: another block's worker may replace it
        if last is not None and last[0] == block:
            return last[1]
        left, right = self.sums[block]
        tokens = max(1, self.tokens[block])
        # a bias sees a constant input: its second factor is a 1 that no token changes
        right = np.ones((1, 1)) if right.shape == (1, 1) else right / tokens
        found = KroneckerFactors(left / tokens, right, tokens / max(1, self.rows))
        self._last = (block, found)
        return found
