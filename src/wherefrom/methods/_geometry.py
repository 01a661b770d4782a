"""Geometries: what modifiers make of a block, worked out once for all methods that share them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from wherefrom.curvature import FisherBlock, GramBlock, inverse_norms
from wherefrom.methods._block import BlockMethod
from wherefrom.methods._clock import SHARED, Clock
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import RawBlock
from wherefrom.methods._workers import in_order
from wherefrom.signals import Block

Norms = dict["Geometry", tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Geometry:
    """The modifiers that decide what a block's products are; methods that share one share the work."""

    target: str
    reference: bool
    project: int
    layers: str
    scope: str
    curvature: str
    form: str
    centre: bool
    whiten: float
    normalise: str

    @classmethod
    def of(cls, m: BlockMethod) -> Geometry:
        """A method's."""
        return cls(**{field.name: getattr(m, field.name) for field in fields(cls)})


class BlockCache:
    """What methods share of one block at one state."""

    def __init__(self, point: Point, block: Block, evidence: Evidence) -> None:
        self.point = point
        self.block = block
        self.evidence = evidence
        self._raw: dict[tuple[Any, ...], RawBlock] = {}
        self._products: dict[tuple[Any, ...], FisherBlock] = {}
        self._changed: dict[Geometry, FisherBlock] = {}

    def raw(self, g: Geometry) -> RawBlock:
        """The gradients that a geometry starts from."""
        key = (g.target, g.reference, g.project)
        if key not in self._raw:
            self._raw[key] = RawBlock(self.point, self.block, *key)
        return self._raw[key]

    def any(self, g: Geometry) -> bool:
        """Whether the gradients that a geometry starts from are not all zero."""
        if self.point.products is not None:
            return bool(self.gram(g).train_norms.any())
        return bool(self.raw(g).train.any())

    def gram(self, g: Geometry) -> GramBlock:
        """The dual form before centring, whitening and normalising."""
        found = self._product(g, "dual")
        assert isinstance(found, GramBlock)
        return found

    def fisher(self, g: Geometry, norms: tuple[np.ndarray, np.ndarray] | None) -> FisherBlock:
        """The products under a geometry, in the form asked for or the smaller one."""
        if g not in self._changed:
            self._changed[g] = changed(self._product(g, self._form(g)), g, norms, self.evidence)
        return self._changed[g]

    def _form(self, g: Geometry) -> str:
        if self.point.products is not None:
            return "dual"
        if g.form != "auto":
            return g.form
        return "primal" if self.raw(g).size < len(self.evidence.train_rows) else "dual"

    def _product(self, g: Geometry, form: str) -> FisherBlock:
        key = (g.target, g.reference, g.project, g.curvature, form)
        if key not in self._products:
            if self.point.products is not None:
                self._products[key] = self.point.products.gram(self.block.name)
                return self._products[key]
            raw = self.raw(g)
            if g.reference and g.curvature == "empirical":
                # other queries, the same training rows: what was decomposed for the plain ones serves
                plain = self._product(replace(g, reference=False), form)
                self._products[key] = raw.asked(plain)
                return self._products[key]
            self._products[key] = (
                raw.covariance(g.curvature) if form == "primal" else raw.gram(g.curvature)
            )
        return self._products[key]


def changed(
    block: FisherBlock,
    g: Geometry,
    norms: tuple[np.ndarray, np.ndarray] | None,
    evidence: Evidence,
) -> FisherBlock:
    """A block's products under the modifiers of a geometry: centre, whiten, normalise, in that order.

    Args:
        block: the products of the gradients as they are.
        g: the modifiers.
        norms: 1/norm of training rows and queries over all blocks, for `normalise=row` block by block.
        evidence: whose recipe gives the damping rule.
    """
    if g.centre:
        block = block.centred()
    if g.whiten:
        block = block.whitened(block.damping(evidence.recipe.damping_rule, g.whiten))
    if g.normalise == "block" or (g.normalise == "row" and g.scope == "whole"):
        block = block.unit()
    elif g.normalise == "row" and norms is not None:
        block = block.scaled(*norms)
    return block


def block_bytes(point: Point, evidence: Evidence, geometries: int) -> float:
    """Bytes that the widest block may take while it is scored: gradients, products, decompositions."""
    n, p = len(evidence.train_rows), max(block.size for block in point.blocks)
    side = min(n, p)
    return 12.0 * n * p + 8.0 * geometries * (n * min(n, p) + 3 * side**2)


def row_norms(
    geometries: set[Geometry],
    point: Point,
    evidence: Evidence,
    kept: dict[str, set[str]],
    clock: Clock,
) -> Norms:
    """Norms over all chosen blocks together: a walk of its own, before the one that scores."""
    wanted = [g for g in geometries if g.normalise == "row" and g.scope == "block"]
    if not wanted:
        return {}

    def of_block(block: Block) -> Norms:
        cache = BlockCache(point, block, evidence)
        found = {g: cache.fisher(g, None) for g in wanted if block.name in kept[g.layers]}
        return {g: (fisher.train_norms, fisher.query_norms) for g, fisher in found.items()}

    sums: Norms = {}
    with clock.at(SHARED):
        for found in in_order(of_block, point.blocks, block_bytes(point, evidence, len(wanted))):
            for g, pair in found.items():
                held = sums.get(g)
                sums[g] = pair if held is None else (held[0] + pair[0], held[1] + pair[1])
    return {g: (inverse_norms(t), inverse_norms(q)) for g, (t, q) in sums.items()}
