"""Scoring: all chosen methods over one set of evidence, every block read once a state."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from wherefrom.curvature import FisherBlock, GramBlock, inverse_norms
from wherefrom.errors import SettingError
from wherefrom.identity import require_same
from wherefrom.methods._aggregate import by_rank, by_vote
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import RawBlock
from wherefrom.methods._method import DirectMethod, Method
from wherefrom.methods._modifiers import chosen_blocks, layer_of
from wherefrom.progress import track
from wherefrom.scores import Scores
from wherefrom.signals import Block, Side

SHARED = "shared: reading gradients, Gram matrices, eigendecompositions"

Norms = dict["Geometry", tuple[np.ndarray, np.ndarray]]


@dataclass
class Scored:
    """Scores of every method and the seconds each took beyond what all of them share."""

    scores: list[Scores]
    seconds: dict[str, float]


def score_all(methods: Sequence[Method], evidence: Evidence) -> Scored:
    """Runs every method on the evidence.

    Gradients are read block by block and let go, so memory holds one block and a few n × n matrices;
    methods under the same modifiers share one decomposition a block.

    Args:
        methods: what to run.
        evidence: rows, signals and recipe.

    Raises:
        IdentityError: training and query signals come from different models, adapters or templates.
        SettingError: a method needs signals that were not captured.
        NonFiniteError: a method gave NaN or Inf.
    """
    _require_one_model(evidence)
    clock = Clock()
    found: dict[str, Scores] = {}
    for m in methods:
        if isinstance(m, DirectMethod):
            with clock.at(m.spec):
                found[m.spec] = _scores(m, m.score(evidence), evidence, {})
    by_block = [m for m in methods if isinstance(m, BlockMethod)]
    if by_block:
        found |= _score_blocks(by_block, evidence, clock)
    return Scored([found[m.spec] for m in methods], clock.seconds)


class Clock:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def at(self, name: str) -> Iterator[None]:
        """Adds the time that the block takes."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun


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
        return cls(
            m.target,
            m.reference,
            m.project,
            m.layers,
            m.scope,
            m.curvature,
            m.form,
            m.centre,
            m.whiten,
            m.normalise,
        )


def _score_blocks(
    methods: Sequence[BlockMethod], evidence: Evidence, clock: Clock
) -> dict[str, Scores]:
    at_point: dict[str, dict[str, np.ndarray]] = {m.spec: {} for m in methods}
    measured: dict[str, dict[str, Any]] = {}
    for point in evidence.points():
        here = [m for m in methods if point in _points(m, evidence) or _minus(m, point, evidence)]
        if not here:
            continue
        sums = _walk(here, point, evidence, clock)
        for m in here:
            with clock.at(m.spec):
                at_point[m.spec][point.name] = _aggregated(m, sums[m.spec], evidence)
                if m.aggregate == "sum":
                    measured[m.spec] = m.measured(*_only(sums[m.spec]))
    found = {}
    for m in methods:
        with clock.at(m.spec):
            points = _points(m, evidence)
            values = m.combine([at_point[m.spec][p.name] for p in points], points, evidence)
            if m.minus_base:
                if evidence.base is None:
                    raise SettingError(f"{m.spec}: the model before fine-tuning was not captured.")
                values = values - at_point[m.spec][evidence.base.name]
            about = measured.get(m.spec, {})
            if m.checkpoints != "final":
                about = about | {"states": [point.name for point in points]}
            found[m.spec] = _scores(m, values, evidence, about)
    return found


def _points(m: BlockMethod, evidence: Evidence) -> list[Point]:
    if m.checkpoints == "final":
        return [evidence.final]
    if not evidence.checkpoints:
        raise SettingError(f"{m.spec}: no checkpoints were captured.")
    return list(evidence.checkpoints)


def _minus(m: BlockMethod, point: Point, evidence: Evidence) -> bool:
    return m.minus_base and point is evidence.base


class Groups:
    """What a method's blocks added up to, by group of blocks."""

    def __init__(self) -> None:
        self.sums: dict[int, Sums] = {}
        self.counts: dict[int, int] = {}

    def add(self, group: int, parts: Sums) -> None:
        """Adds one block's parts."""
        self.counts[group] = self.counts.get(group, 0) + 1
        held = self.sums.setdefault(group, {})
        for key, value in parts.items():
            held[key] = held[key] + value if key in held else value


def _walk(
    methods: Sequence[BlockMethod], point: Point, evidence: Evidence, clock: Clock
) -> dict[str, Groups]:
    """Every method's contributions at one state."""
    blocks = point.source(Side.TRAIN).blocks
    if not blocks:
        raise SettingError("no gradients were captured; index with a method that needs them.")
    names = [block.name for block in blocks]
    geometries = {m.spec: Geometry.of(m) for m in methods}
    kept = {g.layers: chosen_blocks(g.layers, names) for g in geometries.values()}
    norms = _row_norms(set(geometries.values()), point, evidence, kept, clock)
    groups = {m.spec: Groups() for m in methods}
    wholes: dict[Geometry, GramBlock] = {}
    with track(f"score blocks ({point.name})", len(blocks)) as advance:
        for block in blocks:
            cache = _Cache(point, block, evidence, clock)
            for m in methods:
                geometry = geometries[m.spec]
                if block.name not in kept[geometry.layers]:
                    continue
                if geometry.scope == "whole":
                    continue
                fisher = partial(cache.fisher, geometry, norms.get(geometry))
                _contribute(m, groups[m.spec], fisher, cache.raw(geometry), point, evidence, clock)
            for geometry in {g for g in geometries.values() if g.scope == "whole"}:
                if block.name in kept[geometry.layers]:
                    with clock.at(SHARED):
                        part = cache.gram(geometry)
                        held = wholes.get(geometry)
                        wholes[geometry] = part if held is None else held + part
            advance(1)
    for geometry, whole in wholes.items():
        with clock.at(SHARED):
            fisher_block = _changed(whole, geometry, None, evidence)
        for m in methods:
            if geometries[m.spec] == geometry:
                found = groups[m.spec]
                _contribute(m, found, lambda b=fisher_block: b, None, point, evidence, clock)
    for m in methods:
        if not groups[m.spec].sums:
            raise SettingError(
                "every training row's gradient is zero in every block, so nothing can be attributed. Was "
                "the adapter trained at all?"
            )
    return groups


def _contribute(
    m: BlockMethod,
    groups: Groups,
    fisher: Any,
    raw: RawBlock | None,
    point: Point,
    evidence: Evidence,
    clock: Clock,
) -> None:
    shown = BlockEvidence(fisher, evidence.recipe, raw, point)
    if not m.raw_gradients:
        with clock.at(SHARED):
            # a block whose gradients are all zero (LoRA's A while B is zero) says nothing
            if not shown.fisher.train_norms.any():
                return
            if m.spectral:
                _ = shown.fisher.spectrum
    elif raw is not None:
        with clock.at(SHARED):
            if not raw.train.any():
                return
    with clock.at(m.spec):
        group = 0 if raw is None or m.aggregate == "sum" else layer_of(raw.block.name)
        groups.add(group, m.contribution(shown))


class _Cache:
    """What methods share of one block at one state."""

    def __init__(self, point: Point, block: Block, evidence: Evidence, clock: Clock) -> None:
        self.point = point
        self.block = block
        self.evidence = evidence
        self.clock = clock
        self._raw: dict[tuple[Any, ...], RawBlock] = {}
        self._products: dict[tuple[Any, ...], FisherBlock] = {}
        self._changed: dict[Geometry, FisherBlock] = {}

    def raw(self, g: Geometry) -> RawBlock:
        """The gradients that a geometry starts from."""
        key = (g.target, g.reference, g.project)
        if key not in self._raw:
            self._raw[key] = RawBlock(self.point, self.block, *key)
        return self._raw[key]

    def gram(self, g: Geometry) -> GramBlock:
        """The dual form before centring, whitening and normalising."""
        found = self._product(g, "dual")
        assert isinstance(found, GramBlock)
        return found

    def fisher(self, g: Geometry, norms: tuple[np.ndarray, np.ndarray] | None) -> FisherBlock:
        """The products under a geometry, in the form asked for or the smaller one."""
        if g not in self._changed:
            raw = self.raw(g)
            rows = len(self.evidence.train_rows)
            form = g.form
            if form == "auto":
                form = "primal" if raw.size < rows else "dual"
            self._changed[g] = _changed(self._product(g, form), g, norms, self.evidence)
        return self._changed[g]

    def _product(self, g: Geometry, form: str) -> FisherBlock:
        key = (g.target, g.reference, g.project, g.curvature, form)
        if key not in self._products:
            raw = self.raw(g)
            self._products[key] = (
                raw.covariance(g.curvature) if form == "primal" else raw.gram(g.curvature)
            )
        return self._products[key]


def _changed(
    block: FisherBlock,
    g: Geometry,
    norms: tuple[np.ndarray, np.ndarray] | None,
    evidence: Evidence,
) -> FisherBlock:
    if g.centre:
        block = block.centred()
    if g.whiten:
        block = block.whitened(block.damping(evidence.recipe.damping_rule, g.whiten))
    if g.normalise == "block" or (g.normalise == "row" and g.scope == "whole"):
        block = block.unit()
    elif g.normalise == "row" and norms is not None:
        block = block.scaled(*norms)
    return block


def _row_norms(
    geometries: set[Geometry],
    point: Point,
    evidence: Evidence,
    kept: dict[str, set[str]],
    clock: Clock,
) -> Norms:
    """Norms over all chosen blocks together: a walk of its own, before the one that scores."""
    wanted = [g for g in geometries if g.normalise == "row" and g.scope == "block"]
    sums: Norms = {}
    with clock.at(SHARED):
        for block in point.source(Side.TRAIN).blocks if wanted else ():
            cache = _Cache(point, block, evidence, clock)
            for g in wanted:
                if block.name in kept[g.layers]:
                    found = cache.fisher(g, None)
                    pair = (found.train_norms, found.query_norms)
                    held = sums.get(g)
                    sums[g] = pair if held is None else (held[0] + pair[0], held[1] + pair[1])
    return {g: (inverse_norms(t), inverse_norms(q)) for g, (t, q) in sums.items()}


def _aggregated(m: BlockMethod, groups: Groups, evidence: Evidence) -> np.ndarray:
    values = [m.finish(groups.sums[i], groups.counts[i]) for i in sorted(groups.sums)]
    ids = tuple(row.id for row in evidence.train_rows)
    if m.aggregate == "rank":
        return by_rank(values, ids)
    return by_vote(values, ids) if m.aggregate == "vote" else values[0]


def _only(groups: Groups) -> tuple[Sums, int]:
    (key,) = groups.sums
    return groups.sums[key], groups.counts[key]


def _scores(m: Method, values: np.ndarray, evidence: Evidence, measured: dict[str, Any]) -> Scores:
    recipe = evidence.recipe
    about = {"recipe": recipe.name, **m.settings(), **measured}
    unit = m.unit
    if isinstance(m, BlockMethod):
        about |= {"damping rule": recipe.damping_rule, "damping strength": recipe.damping}
        if m.aggregate == "rank":
            unit = "mean rank over layers, 0 (last) to 1 (first)"
        elif m.aggregate == "vote":
            unit = "share of layers that have the row in their top tenth"
    return Scores(
        values=values,
        query_ids=tuple(row.id for row in evidence.query_rows),
        train_ids=tuple(row.id for row in evidence.train_rows),
        method=m.spec,
        settings=about,
        unit=unit,
    )


def _require_one_model(evidence: Evidence) -> None:
    expected = {
        Side.TRAIN: tuple(row.id for row in evidence.train_rows),
        Side.QUERY: tuple(row.id for row in evidence.query_rows),
        Side.REFERENCE: tuple(row.id for row in evidence.query_rows),
    }
    for point in evidence.points():
        first: dict[str, Any] | None = None
        for side, source in point.sources.items():
            if source.ids != expected[side]:
                raise SettingError(f"the {side.value} signals are of other rows than those given.")
            identity = {k: v for k, v in source.identity.items() if k != "rows"}
            if first is not None:
                # what one side alone was read for (factors, token errors) has no counterpart
                shared = first.keys() & identity.keys()
                require_same(
                    {key: first[key] for key in shared},
                    {key: identity[key] for key in shared},
                    "the training signals",
                    "the query signals",
                    "Index both again with the same model, adapter and recipe.",
                )
            first = identity if first is None else first
