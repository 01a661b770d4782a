"""Scoring: all chosen methods over one set of evidence, every block read once a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from wherefrom.curvature import GramBlock
from wherefrom.errors import SettingError
from wherefrom.identity import require_same
from wherefrom.methods._aggregate import by_rank, by_vote
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._clock import SHARED, Clock
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import RawBlock
from wherefrom.methods._geometry import BlockCache, Geometry, changed, row_norms
from wherefrom.methods._method import DirectMethod, Method
from wherefrom.methods._modifiers import chosen_blocks, layer_of
from wherefrom.progress import track
from wherefrom.scores import Scores
from wherefrom.signals import Side


@dataclass
class Scored:
    """Scores of every method and the seconds each took beyond what all of them share."""

    scores: list[Scores]
    seconds: dict[str, float]


def score_all(methods: Sequence[Method], evidence: Evidence, *, quiet: bool = False) -> Scored:
    """Runs every method on the evidence.

    Gradients are read block by block and let go, so memory holds one block and a few n × n matrices;
    methods under the same modifiers share one decomposition a block.

    Args:
        methods: what to run.
        evidence: rows, signals and recipe.
        quiet: show no bar.

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
        found |= _score_blocks(by_block, evidence, clock, quiet)
    return Scored([found[m.spec] for m in methods], clock.seconds)


def _score_blocks(
    methods: Sequence[BlockMethod], evidence: Evidence, clock: Clock, quiet: bool
) -> dict[str, Scores]:
    at_point: dict[str, dict[str, np.ndarray]] = {m.spec: {} for m in methods}
    measured: dict[str, dict[str, Any]] = {}
    for point in evidence.points():
        here = [m for m in methods if point in _points(m, evidence) or _minus(m, point, evidence)]
        if not here:
            continue
        sums = _walk(here, point, evidence, clock, quiet)
        for m in here:
            with clock.at(m.spec):
                at_point[m.spec][point.name] = _aggregated(m, sums[m.spec], evidence)
                if m.aggregate == "sum" and sums[m.spec].sums:
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
    """What a method's blocks added up to, by group of blocks.

    Attributes:
        cancelled: whether there were gradients that modifiers may have taken away (centring one row does).
    """

    def __init__(self) -> None:
        self.sums: dict[int, Sums] = {}
        self.counts: dict[int, int] = {}
        self.cancelled = False

    def add(self, group: int, parts: Sums) -> None:
        """Adds one block's parts."""
        self.counts[group] = self.counts.get(group, 0) + 1
        held = self.sums.setdefault(group, {})
        for key, value in parts.items():
            held[key] = held[key] + value if key in held else value


def _walk(
    methods: Sequence[BlockMethod], point: Point, evidence: Evidence, clock: Clock, quiet: bool
) -> dict[str, Groups]:
    """Every method's contributions at one state."""
    blocks = point.source(Side.TRAIN).blocks
    if not blocks:
        raise SettingError("no gradients were captured; index with a method that needs them.")
    names = [block.name for block in blocks]
    geometries = {m.spec: Geometry.of(m) for m in methods}
    kept = {g.layers: chosen_blocks(g.layers, names) for g in geometries.values()}
    norms = row_norms(set(geometries.values()), point, evidence, kept, clock)
    groups = {m.spec: Groups() for m in methods}
    wholes: dict[Geometry, GramBlock] = {}
    label = None if quiet else f"score blocks ({point.name})"
    with track(label, len(blocks)) as advance:
        for block in blocks:
            cache = BlockCache(point, block, evidence)
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
            fisher_block = changed(whole, geometry, None, evidence)
        for m in methods:
            if geometries[m.spec] == geometry:
                groups[m.spec].cancelled |= bool(whole.train_norms.any())
                found = groups[m.spec]
                _contribute(m, found, lambda b=fisher_block: b, None, point, evidence, clock)
    for m in methods:
        if not groups[m.spec].sums and not groups[m.spec].cancelled:
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
                groups.cancelled |= raw is not None and bool(raw.train.any())
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


def _aggregated(m: BlockMethod, groups: Groups, evidence: Evidence) -> np.ndarray:
    if not groups.sums:
        return np.zeros((len(evidence.query_rows), len(evidence.train_rows)))
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
    if isinstance(m, BlockMethod):
        about |= {"damping rule": recipe.damping_rule, "damping strength": recipe.damping}
    return Scores(
        values=values,
        query_ids=tuple(row.id for row in evidence.query_rows),
        train_ids=tuple(row.id for row in evidence.train_rows),
        method=m.spec,
        settings=about,
        unit=m.scale if isinstance(m, BlockMethod) else m.unit,
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
