"""Fits: what methods need of all training rows before the rows pass by to be scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from wherefrom.curvature import CovarianceBlock, Features, PassingRows, inverse_norms
from wherefrom.errors import SettingError
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import RawBlock, flat
from wherefrom.methods._geometry import Geometry, changed
from wherefrom.methods._modifiers import chosen_blocks
from wherefrom.methods._workers import in_order, workers
from wherefrom.signals import SAMPLED, Side, gradient_name

_MATRICES = 5
"""Matrices of entries × entries that a decomposition holds at once, its workspace included."""


@dataclass(eq=False)
class Part:
    """What a geometry takes as one (a block, or all of them under scope=whole), and what was fitted on it.

    Attributes:
        geometry: the modifiers.
        raws: its blocks.
        fit: queries and curvature under the modifiers.
        alive: whether there are gradients, before the modifiers and after them.
        weights: of linear methods, by spec: what raw rows are multiplied with (queries × entries), and what
            is taken off the product (queries,).
        numbers: by spec, what contributions hold beside matrices: λ, steps, residuals.
    """

    geometry: Geometry
    raws: tuple[RawBlock, ...]
    fit: CovarianceBlock
    alive: tuple[bool, bool] = (False, False)
    weights: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    numbers: dict[str, Sums] = field(default_factory=dict)

    @property
    def rows(self) -> Features:
        """Training rows under the modifiers."""
        return self.fit.train


def fit_all(
    methods: Sequence[BlockMethod], point: Point, evidence: Evidence, memory: float
) -> list[Part]:
    """Fits every part that the methods look at, at one state: a walk over its rows a part, or a few.

    Raises:
        SettingError: a part has more entries than its curvature may have in memory.
    """
    parts = _parts(methods, point, evidence)
    _require_memory(parts, methods, memory)
    _scale_rows(parts)

    def fitted(part: Part) -> Part:
        _fit(part, _under(part, methods), point, evidence)
        return part

    return list(in_order(fitted, parts))


def _parts(methods: Sequence[BlockMethod], point: Point, evidence: Evidence) -> list[Part]:
    blocks = point.blocks
    if not blocks:
        raise SettingError("no gradients were captured; index with a method that needs them.")
    names = [block.name for block in blocks]
    geometries = dict.fromkeys(Geometry.of(m) for m in methods)
    groups: list[tuple[Geometry, tuple[RawBlock, ...]]] = []
    for g in geometries:
        kept = chosen_blocks(g.layers, names)
        raws = [
            RawBlock(point, block, g.target, g.reference, g.project)
            for block in blocks
            if block.name in kept
        ]
        groups += [(g, tuple(raws))] if g.scope == "whole" else [(g, (raw,)) for raw in raws]

    def part(group: tuple[Geometry, tuple[RawBlock, ...]]) -> Part:
        g, raws = group
        train = _features(raws, g.target)
        basis = _features(raws, SAMPLED) if g.curvature == "true" else None
        query = np.concatenate([flat(raw.query) for raw in raws], axis=1)
        fit = changed(CovarianceBlock(train, query, basis), g, None, evidence)
        assert isinstance(fit, CovarianceBlock)
        return Part(g, raws, fit)

    return list(in_order(part, groups))


def _features(raws: tuple[RawBlock, ...], target: str) -> Features:
    source = raws[0].point.source(Side.TRAIN)
    names = [gradient_name(raw.block.name, target) for raw in raws]

    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        if len(raws) == 1:
            yield from raws[0].stream(target)
            return
        for rows, found in source.chunks(names):
            parts = [flat(raw.projected(found[n])) for raw, n in zip(raws, names, strict=True)]
            yield rows, np.concatenate(parts, axis=1)

    return Features(chunks, len(source.ids), sum(raw.size for raw in raws))


def _scale_rows(parts: Sequence[Part]) -> None:
    """Brings rows to norm one over all blocks of a geometry together, where it asks for that."""
    wanted = [p for p in parts if p.geometry.normalise == "row" and p.geometry.scope == "block"]
    sums: dict[Geometry, tuple[np.ndarray, np.ndarray]] = {}

    def norms(part: Part) -> tuple[np.ndarray, np.ndarray]:
        return part.rows.norms(), part.fit.query_norms

    for part, (train, query) in zip(wanted, in_order(norms, wanted), strict=True):
        held = sums.get(part.geometry)
        sums[part.geometry] = (train, query) if held is None else (held[0] + train, held[1] + query)
    inverse = {g: (inverse_norms(t), inverse_norms(q)) for g, (t, q) in sums.items()}
    for part in wanted:
        part.fit = part.fit.scaled(*inverse[part.geometry])


def _fit(part: Part, methods: Sequence[BlockMethod], point: Point, evidence: Evidence) -> None:
    plain = replace(part.rows, centre=None, turn=None, scale=None, unit=False)
    part.alive = (plain.any(), part.rows.any())
    if not part.alive[1]:
        return
    for m in methods:
        if m.spectral:
            _ = part.fit.spectrum
        # the unit vectors as rows: weights of linear methods, and whatever others work out but once
        unit = PassingRows(part.fit, None)
        sums = m.contribution(BlockEvidence(lambda rows=unit: rows, evidence.recipe, None, point))  # type: ignore[misc]
        part.numbers[m.spec] = {k: v for k, v in sums.items() if np.ndim(v) == 0}
        if m.is_linear():
            turn, centre = part.rows.turn, part.rows.centre
            weights = np.asarray(sums["score"] if turn is None else sums["score"] @ turn.T)
            offset = np.zeros(len(weights)) if centre is None else weights @ centre
            part.weights[m.spec] = weights.astype(np.float32), offset.astype(np.float32)
    if all(m.is_linear() for m in methods):
        # nothing but what rows are changed by is looked at again
        part.fit = CovarianceBlock(part.rows, part.fit.query)


def _under(part: Part, methods: Sequence[BlockMethod]) -> list[BlockMethod]:
    return [m for m in methods if Geometry.of(m) == part.geometry]


def _require_memory(parts: Sequence[Part], methods: Sequence[BlockMethod], memory: float) -> None:
    """Refuses curvature that does not fit; only whoever asks for eigenvalues or whitens makes any."""
    kept = widest = 0.0
    who = None
    for part in parts:
        matrix = 8.0 * part.fit.size**2
        asking = [m for m in _under(part, methods) if m.spectral or m.whiten]
        if asking and matrix > widest:
            widest, who = matrix, (asking[0], part)
        # linear methods let it go once their weights are made
        kept += matrix * any(m.whiten or not m.is_linear() for m in asking)
    together = min(workers(), len(parts))
    if who is not None and kept + together * _MATRICES * widest > memory:
        m, part = who
        side = int((memory / (8 * (_MATRICES * together + len(parts)))) ** 0.25)
        raise SettingError(
            f"{m.spec}: the curvature of {part.raws[0].block.name}, {part.fit.size:,} entries wide, and "
            f"that of the other blocks take {(kept + together * _MATRICES * widest) / 1e9:.1f} GB, but the "
            f"budget is {memory / 1e9:.1f} GB. Give project={max(1, side)} or less, or more memory."
        )
