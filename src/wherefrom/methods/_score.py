"""Scoring: all chosen methods over one set of evidence, every block read once a state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from wherefrom.curvature import GramBlock
from wherefrom.data import Recipe
from wherefrom.errors import SettingError
from wherefrom.identity import require_same
from wherefrom.methods._aggregate import by_rank, by_vote
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._clock import SHARED, Clock
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._geometry import BlockCache, Geometry, block_bytes, changed, row_norms
from wherefrom.methods._method import DirectMethod, Method
from wherefrom.methods._modifiers import chosen_blocks, layer_of
from wherefrom.methods._workers import in_order
from wherefrom.progress import track
from wherefrom.scores import Scores
from wherefrom.signals import At, Block, Policy, Side

_MISSING = {
    At.BASE: "the model before fine-tuning was not captured",
    At.CHECKPOINTS: "no checkpoints were captured",
}
NOTHING = (
    "every training row's gradient is zero in every block, so nothing can be attributed. Was the adapter "
    "trained at all?"
)


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
    require_one_model(evidence)
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
    # the final model may be the last checkpoint too
    for point in dict.fromkeys(evidence.points()):
        here = [m for m in methods if point in points_of(m, evidence)]
        if not here:
            continue
        sums = _walk(here, point, evidence, clock, quiet)
        for m in here:
            with clock.at(m.spec):
                at_point[m.spec][point.name] = _aggregated(m, sums[m.spec], evidence)
                last = points_of(m, evidence, base=False)[-1] is point
                if last and m.aggregate == "sum" and sums[m.spec].sums:
                    measured[m.spec] = m.measured(*_only(sums[m.spec]))
    found = {}
    for m in methods:
        with clock.at(m.spec):
            points = points_of(m, evidence, base=False)
            values = m.combine([at_point[m.spec][p.name] for p in points], points, evidence)
            if m.minus_base and evidence.base is not None:
                values = values - at_point[m.spec][evidence.base.name]
            own = measured.get(m.spec, {})
            if m.checkpoints != "final":
                own = own | {"states": [point.name for point in points]}
            found[m.spec] = _scores(m, values, evidence, own)
    return found


def points_of(m: BlockMethod, evidence: Evidence, *, base: bool = True) -> list[Point]:
    """The states that a method looks at: those its score is made of, and last the base model's.

    Args:
        m: the method.
        evidence: whose states.
        base: count the model before fine-tuning, where the method takes its score off.

    Raises:
        SettingError: they were not captured.
    """
    captured = {
        At.FINAL: [evidence.final],
        At.BASE: [evidence.base] if evidence.base else [],
        At.CHECKPOINTS: list(evidence.checkpoints),
    }
    found: list[Point] = []
    for at in [m.at, *([At.BASE] if base and m.minus_base else [])]:
        if not captured[at]:
            raise SettingError(f"{m.spec}: {_MISSING[at]}.")
        found += captured[at]
    return found


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


@dataclass
class BlockParts:
    """What every method took from one block.

    Attributes:
        sums: contributions, by the method's spec.
        cancelled: methods whose modifiers took away all that the block's gradients had.
        wholes: products to be added to those of other blocks, by geometry.
        clock: seconds by method.
    """

    sums: dict[str, Sums] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    wholes: dict[Geometry, GramBlock] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)


def _walk(
    methods: Sequence[BlockMethod], point: Point, evidence: Evidence, clock: Clock, quiet: bool
) -> dict[str, Groups]:
    """Every method's contributions at one state."""
    blocks = point.blocks
    if not blocks:
        raise SettingError("no gradients were captured; index with a method that needs them.")
    _require_products_suffice(methods, point)
    names = [block.name for block in blocks]
    geometries = {m.spec: Geometry.of(m) for m in methods}
    kept = {g.layers: chosen_blocks(g.layers, names) for g in geometries.values()}
    norms = row_norms(set(geometries.values()), point, evidence, kept, clock)
    groups = {m.spec: Groups() for m in methods}
    wholes: dict[Geometry, GramBlock] = {}

    def of_block(block: Block) -> BlockParts:
        cache = BlockCache(point, block, evidence)
        parts = BlockParts()
        for m in methods:
            geometry = geometries[m.spec]
            if block.name not in kept[geometry.layers]:
                continue
            if geometry.scope == "whole":
                if geometry not in parts.wholes:
                    with parts.clock.at(SHARED):
                        parts.wholes[geometry] = cache.gram(geometry)
                        _ = parts.wholes[geometry].gram  # here, beside other blocks
                continue
            raw = None if point.products is not None else cache.raw(geometry)
            fisher = partial(cache.fisher, geometry, norms.get(geometry))
            shown = BlockEvidence(fisher, evidence.recipe, raw, point)
            with parts.clock.at(SHARED):
                alive = _has_gradients(m, shown)
                if not alive and not m.raw_gradients and cache.any(geometry):
                    parts.cancelled.add(m.spec)
            if alive:
                parts.sums[m.spec] = _contribution(m, shown, parts.clock)
        return parts

    each = block_bytes(point, evidence, len({*geometries.values()}))
    label = None if quiet else f"score blocks ({point.name})"
    with track(label, len(blocks)) as advance:
        # added in the order of the blocks, so that rounding does not depend on who is done first
        for block, parts in zip(blocks, in_order(of_block, blocks, each), strict=True):
            clock.add(parts.clock)
            for m in methods:
                groups[m.spec].cancelled |= m.spec in parts.cancelled
                if m.spec in parts.sums:
                    group = 0 if m.aggregate == "sum" else layer_of(block.name)
                    groups[m.spec].add(group, parts.sums[m.spec])
            for geometry, part in parts.wholes.items():
                with clock.at(SHARED):
                    held = wholes.get(geometry)
                    wholes[geometry] = part if held is None else held + part
            advance(1)
    for geometry, whole in wholes.items():
        with clock.at(SHARED):
            fisher_block = changed(whole, geometry, None, evidence)
        shown = BlockEvidence(lambda b=fisher_block: b, evidence.recipe, None, point)  # type: ignore[misc]
        for m in methods:
            if geometries[m.spec] == geometry:
                groups[m.spec].cancelled |= bool(whole.train_norms.any())
                if _has_gradients(m, shown):
                    groups[m.spec].add(0, _contribution(m, shown, clock))
    for m in methods:
        if not groups[m.spec].sums and not groups[m.spec].cancelled:
            raise SettingError(NOTHING)
    return groups


def _has_gradients(m: BlockMethod, shown: BlockEvidence) -> bool:
    """Whether a block says anything; LoRA's A does not while B is zero."""
    return bool(shown.raw.train.any() if m.raw_gradients else shown.fisher.train_norms.any())


def _contribution(m: BlockMethod, shown: BlockEvidence, clock: Clock) -> Sums:
    if m.spectral:
        with clock.at(SHARED):
            _ = shown.fisher.spectrum
    with clock.at(m.spec):
        return m.contribution(shown)


def _require_products_suffice(methods: Sequence[BlockMethod], point: Point) -> None:
    for m in methods if point.products is not None else ():
        why = m.refusal(Policy.GRAM)
        if why is not None:
            raise SettingError(f"{m.spec}: {why}. Index with another policy, or leave it out.")


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


def about(m: Method, recipe: Recipe, measured: dict[str, Any]) -> dict[str, Any]:
    """What is put beside a method's scores: every setting, the recipe's, and what it measured."""
    found = {"recipe": recipe.name, **m.settings(), **measured}
    if isinstance(m, BlockMethod):
        found |= {"damping rule": recipe.damping_rule, "damping strength": recipe.damping}
    return found


def _scores(m: Method, values: np.ndarray, evidence: Evidence, measured: dict[str, Any]) -> Scores:
    return Scores(
        values=values,
        query_ids=tuple(row.id for row in evidence.query_rows),
        train_ids=tuple(row.id for row in evidence.train_rows),
        method=m.spec,
        settings=about(m, evidence.recipe, measured),
        unit=m.scale if isinstance(m, BlockMethod) else m.unit,
    )


def require_one_model(evidence: Evidence) -> None:
    """Refuses signals of other rows than those given, and of two models, adapters or templates.

    Raises:
        IdentityError: training and query signals were made from different things.
        SettingError: signals are of other rows.
    """
    expected = {
        Side.TRAIN: tuple(row.id for row in evidence.train_rows),
        Side.QUERY: tuple(row.id for row in evidence.query_rows),
        Side.REFERENCE: tuple(row.id for row in evidence.query_rows),
    }
    for point in evidence.points():
        given = [(side, source.ids, source.identity) for side, source in point.sources.items()]
        if point.products is not None:
            about = point.products.identity
            given += [(Side.TRAIN, point.products.train_ids, about)]
            given += [(Side.QUERY, point.products.query_ids, about)]
        first: dict[str, Any] | None = None
        for side, ids, about in given:
            if ids != expected[side]:
                raise SettingError(f"the {side.value} signals are of other rows than those given.")
            identity = {k: v for k, v in about.items() if k != "rows"}
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
