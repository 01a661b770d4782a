"""Evidence: everything that a method may look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from wherefrom.curvature import FactorSums, GramBlock
from wherefrom.data import Example, Recipe
from wherefrom.errors import SettingError
from wherefrom.signals import Block, Moments, Side, Source


class Products(Protocol):
    """Inner products of gradients, block by block, where the gradients themselves were let go."""

    @property
    def train_ids(self) -> tuple[str, ...]:
        """Ids of the training rows."""
        ...

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Ids of the queries."""
        ...

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose products are there."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """What they were made from."""
        ...

    def gram(self, block: str) -> GramBlock:
        """One block's products."""
        ...


@dataclass(frozen=True, eq=False)
class Point:
    """One state of the model and the signals that were read at it.

    Attributes:
        name: `final`, `base`, a checkpoint's `step-000010`, a draw's `draw-003`.
        sources: signals by side; sides whose signals no method needs are absent.
        rate: mean learning rate of the steps that it stands for; 1 where there are none.
        steps: how many steps these are.
        moments: AdamW's moments by block; empty where none were saved or needed.
        factors: Kronecker factors; None where none were needed.
        products: inner products of gradients, where nothing else of them was kept (`Policy.GRAM`).
    """

    name: str
    sources: Mapping[Side, Source]
    rate: float = 1.0
    steps: int = 0
    moments: Mapping[str, Moments] = field(default_factory=dict)
    factors: FactorSums | None = None
    products: Products | None = None

    @property
    def reach(self) -> float:
        """Σ of the learning rates of the steps that it stands for."""
        return self.rate * self.steps

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks whose gradients, or products of them, are there."""
        return self.source(Side.TRAIN).blocks if self.products is None else self.products.blocks

    def source(self, side: Side) -> Source:
        """Signals of one side.

        Raises:
            SettingError: they were not captured.
        """
        if side not in self.sources:
            raise SettingError(
                f"no signals of the {side.value} rows were captured at {self.name}: index with a "
                "method that needs them."
            )
        return self.sources[side]


@dataclass(frozen=True)
class Evidence:
    """Everything that a method may look at; which of it is there follows from what it needs.

    Attributes:
        train_rows: training examples.
        query_rows: queries.
        recipe: damping and the rest.
        final: the fine-tuned model; without sources where no method needs the model.
        checkpoints: states along the training run, first to last.
        base: the model before fine-tuning.
        draws: weights drawn around the final ones.
        replays: what replaying the run gave, by name: float64, queries × training rows.
    """

    train_rows: Sequence[Example]
    query_rows: Sequence[Example]
    recipe: Recipe
    final: Point = field(default_factory=lambda: Point("final", {}))
    checkpoints: Sequence[Point] = ()
    base: Point | None = None
    draws: Sequence[Point] = ()
    replays: Mapping[str, np.ndarray] = field(default_factory=dict)

    def read(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """One array at the final model, for training rows and queries.

        Raises:
            SettingError: no signals were captured.
        """
        train, query = self.final.source(Side.TRAIN), self.final.source(Side.QUERY)
        return train.read(name), query.read(name)

    def points(self) -> list[Point]:
        """Every state that there are signals of."""
        return [self.final, *self.checkpoints, *([self.base] if self.base else []), *self.draws]
