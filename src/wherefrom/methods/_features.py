"""A block's gradients as methods see them: read, contrasted, projected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from wherefrom.curvature import (
    CovarianceBlock,
    Features,
    FisherBlock,
    GramBlock,
    matrix_shape,
    projections,
)
from wherefrom.methods._evidence import Point
from wherefrom.signals import SAMPLED, Block, KeptSignals, Side, gradient_name

_IN_MEMORY = 1e9
"""Bytes of a block's gradients that are read once rather than streamed."""


class RawBlock:
    """Gradients of one block at one state of the model.

    Args:
        point: where they are read.
        block: the weight matrix.
        target: what they are gradients of.
        reference: take the reference answer's gradient off the query's.
        project: k of the two-sided projection; 0 for none.
    """

    def __init__(
        self, point: Point, block: Block, target: str, reference: bool = False, project: int = 0
    ) -> None:
        self.point = point
        self.block = block
        self.target = target
        self.reference = reference
        self.project = project
        self._left, self._right = projections(block, project) if project else (None, None)

    @property
    def name(self) -> str:
        """Name of the array that holds the gradients."""
        return gradient_name(self.block.name, self.target)

    @property
    def size(self) -> int:
        """Entries of a row after projecting."""
        rows, columns = matrix_shape(self.block)
        return (rows if self._left is None else len(self._left)) * (
            columns if self._right is None else len(self._right)
        )

    @cached_property
    def train(self) -> np.ndarray:
        """Training rows' gradients, float32, n × the weight's shape (k × k where projected)."""
        return self.projected(self.point.source(Side.TRAIN).read(self.name))

    @cached_property
    def query(self) -> np.ndarray:
        """Queries' gradients, float32, q × the same shape; less the reference answer's if asked."""
        found = self.point.source(Side.QUERY).read(self.name)
        if self.reference:
            found = found - self.point.source(Side.REFERENCE).read(self.name)
        return self.projected(found)

    @cached_property
    def drawn(self) -> np.ndarray:
        """Training rows' gradients under labels drawn from the model, n × the same shape."""
        return self.projected(
            self.point.source(Side.TRAIN).read(gradient_name(self.block.name, SAMPLED))
        )

    def stream(self, target: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and training rows' gradients, a chunk at a time."""
        for rows, values in self.point.source(Side.TRAIN).stream(
            gradient_name(self.block.name, target)
        ):
            yield rows, self.projected(values)

    def gram(self, curvature: str) -> GramBlock:
        """The dual form."""
        train, query = flat(self.train), flat(self.query)
        basis = flat(self.drawn) if curvature == "true" else None
        kept = self._source
        if kept is None:
            return GramBlock.of(train, query, basis)
        # K and its decomposition, and the products with F's own rows
        size = (16.0 if basis is None else 32.0) * len(train) ** 2
        key = ("dual", self.name, self.project, curvature)
        found = self.asked(kept.worked_out(key, lambda: GramBlock.of_rows(train, basis), size))
        assert isinstance(found, GramBlock)
        return found

    def covariance(self, curvature: str) -> CovarianceBlock:
        """The primal form; streamed where the gradients are large."""
        query = flat(self.query)
        train = self._features(self.target, "train")
        other = self._features(SAMPLED, "drawn") if curvature == "true" else None
        kept = self._source
        if kept is None:
            return CovarianceBlock(train, query, other)
        found = self.asked(
            kept.worked_out(
                ("primal", self.name, self.project, curvature),
                lambda: CovarianceBlock(train, query[:0], other),
                16.0 * self.size**2,
            )
        )
        assert isinstance(found, CovarianceBlock)
        return found

    def asked(self, plain: FisherBlock) -> FisherBlock:
        """The products of the same training rows with this block's queries."""
        query = flat(self.query)
        if isinstance(plain, CovarianceBlock):
            return plain.asked(query)
        assert isinstance(plain, GramBlock)
        basis = None if plain.basis is None else flat(self.drawn)
        return plain.asked(flat(self.train), query, basis)

    def worked_out(self, what: str, make: Callable[[], Any], size: float) -> Any:
        """What follows from the block's training rows alone; kept, where they outlive a question.

        Args:
            what: it is.
            make: makes it.
            size: bytes that it comes to.
        """
        kept = self._source
        return make() if kept is None else kept.worked_out((what, self.name), make, size)

    @property
    def _source(self) -> KeptSignals | None:
        """The training rows' signals where they outlive a question, and what follows from them does too."""
        source = self.point.source(Side.TRAIN)
        return source if isinstance(source, KeptSignals) else None

    def _features(self, target: str, attribute: str) -> Features:
        rows = len(self.point.source(Side.TRAIN).ids)
        if rows * self.block.size * 4 <= _IN_MEMORY:
            return Features.of(flat(getattr(self, attribute)))
        return Features(lambda: self.stream(target), rows, self.size)

    def projected(self, values: np.ndarray) -> np.ndarray:
        """Gradients as they were read, projected as the block's are."""
        if not self.project:
            return values
        matrices = values.reshape(len(values), *matrix_shape(self.block))
        if self._left is not None:
            matrices = self._left @ matrices
        return matrices if self._right is None else matrices @ self._right.T


def flat(values: np.ndarray) -> np.ndarray:
    """Rows × entries, of no rows too."""
    return values.reshape(len(values), int(np.prod(values.shape[1:])))
