"""Signals: what one pass over the rows emits, who consumes it and who gives it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np

from wherefrom.signals._need import LOSS_TARGET, Kind, Need


@dataclass(frozen=True)
class Block:
    """One weight matrix or bias whose gradient is captured for every row.

    Attributes:
        name: the parameter's name in the model, without what PEFT puts around it.
        shape: the parameter's shape.
    """

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of entries, p_b."""
        return prod(self.shape)


@dataclass(frozen=True)
class SignalArray:
    """One array of a store: its name and what one row of it looks like.

    Attributes:
        name: what it is asked for by.
        shape: of one row.
        dtype: what it is read back as.
        half: store each row as float16 under a scale of its own; of float32 arrays only. Memory keeps
            float32.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    half: bool = False

    def __post_init__(self) -> None:
        if self.half and self.dtype != "float32":
            raise ValueError(f"{self.name}: only float32 has a half, not {self.dtype}")

    @property
    def row_bytes(self) -> int:
        """Bytes that one row takes in a store."""
        size = prod(self.shape)
        if self.half:
            return 2 * size + 4 * bool(size)
        return size * np.dtype(self.dtype).itemsize


POOLS = ("last_prompt", "mean_prompt", "mean_response", "mean_all")
"""Where hidden states are read: the last prompt token, or the mean over a part of the row."""


def gradient_name(block: str, target: str = LOSS_TARGET) -> str:
    """Name of the array that holds a block's gradients of a target."""
    return f"{Need(Kind.GRADIENT, target).slug}/{block}"


def hidden_name(pool: str) -> str:
    """Name of the array that holds hidden states, rows × layers × width."""
    return f"hidden/{pool}"


STATE_GRADIENT = "state_gradient"
"""∂loss/∂h at the last prompt token, rows × layers × width."""
TOKEN_ERROR = "token_error"  # noqa: S105
"""Σ_t P(p_t − e_{y_t}) h_tᵀ, rows × dimension × width."""
LOSS = "loss"
TOKENS = "tokens"
TOKEN_LOSS = "token_loss"  # noqa: S105


@dataclass(frozen=True)
class Moments:
    """AdamW's running means for one block, as the optimizer held them.

    Attributes:
        first: m, of the gradient; the block's shape.
        second: v, of its square.
    """

    first: np.ndarray
    second: np.ndarray


class Sink(Protocol):
    """Whoever consumes chunks of signals: a store, an accumulator, memory."""

    def missing(self) -> Sequence[int]:
        """Chunks of the batch plan that have not been put yet."""
        ...

    def put(self, chunk: int, arrays: dict[str, np.ndarray]) -> None:
        """Takes one whole chunk: for each array its rows, in the order of the plan."""
        ...


class Source(Protocol):
    """Whoever gives signals back, rows in the order of the data set."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the rows."""
        ...

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose gradients are there."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What the signals were made from."""
        ...

    def names(self) -> tuple[str, ...]:
        """Names of the arrays that are there."""
        ...

    def read(self, name: str) -> np.ndarray:
        """One array, rows × its shape."""
        ...

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The array a chunk at a time: row numbers, and their values."""
        ...

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """Several arrays together, a chunk of rows at a time: row numbers, and values by name."""
        ...
