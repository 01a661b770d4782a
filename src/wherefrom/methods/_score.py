"""Scoring: all chosen methods over one set of evidence, every block read once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.curvature import GramBlock
from wherefrom.errors import SettingError
from wherefrom.identity import require_same
from wherefrom.methods._method import BlockMethod, DirectMethod, Evidence, Method
from wherefrom.progress import track
from wherefrom.scores import Scores
from wherefrom.signals import gradient_name

SHARED = "shared: reading gradients, Gram matrices, eigendecompositions"


@dataclass
class Scored:
    """Scores of every method and the seconds each took beyond what all of them share."""

    scores: list[Scores]
    seconds: dict[str, float]


def score_all(methods: Sequence[Method], evidence: Evidence) -> Scored:
    """Runs every method on the evidence.

    Gradients are read block by block and let go, so memory holds one block and a few n × n matrices;
    one eigendecomposition a block serves every method that needs one.

    Args:
        methods: what to run.
        evidence: rows, signals and recipe.

    Raises:
        IdentityError: training and query signals come from different models, adapters or templates.
        SettingError: a method needs signals that were not captured.
        NonFiniteError: a method gave NaN or Inf.
    """
    _require_one_model(evidence)
    seconds: dict[str, float] = {}
    found: dict[str, Scores] = {}
    for m in methods:
        if isinstance(m, DirectMethod):
            begun = time.perf_counter()
            found[m.spec] = _scores(m, m.score(evidence), evidence, {})
            seconds[m.spec] = time.perf_counter() - begun
    by_block = [m for m in methods if isinstance(m, BlockMethod)]
    if by_block:
        found |= _score_blocks(by_block, evidence, seconds)
    return Scored([found[m.spec] for m in methods], seconds)


def _score_blocks(
    methods: Sequence[BlockMethod], evidence: Evidence, seconds: dict[str, float]
) -> dict[str, Scores]:
    sums: dict[str, dict[str, np.ndarray]] = {m.spec: {} for m in methods}
    counts = {m.spec: 0 for m in methods}
    seconds |= {m.spec: 0.0 for m in methods} | {SHARED: 0.0}
    scopes = {m.scope for m in methods}
    for scope, block in _blocks(evidence, scopes, seconds):
        here = [m for m in methods if m.scope == scope]
        begun = time.perf_counter()
        if any(m.spectral for m in here) and block.trace > 0:
            _ = block.spectrum
        seconds[SHARED] += time.perf_counter() - begun
        for m in here:
            begun = time.perf_counter()
            counts[m.spec] += 1
            # a block whose gradients are all zero (LoRA's A while B is zero) says nothing
            parts = m.contribution(block, evidence.recipe) if block.trace > 0 else {}
            for key, value in parts.items():
                held = sums[m.spec]
                held[key] = held[key] + value if key in held else value
            seconds[m.spec] += time.perf_counter() - begun
    scored = {}
    for m in methods:
        if not sums[m.spec]:
            raise SettingError(
                "every training row's gradient is zero in every block, so nothing can be attributed. Was "
                "the adapter trained at all?"
            )
        measured = m.measured(sums[m.spec], counts[m.spec])
        values = m.finish(sums[m.spec], counts[m.spec])
        scored[m.spec] = _scores(m, values, evidence, measured)
    return scored


def _blocks(
    evidence: Evidence, scopes: set[str], seconds: dict[str, float]
) -> Iterator[tuple[str, GramBlock]]:
    if evidence.train is None or not evidence.train.blocks:
        raise SettingError("no gradients were captured; index with a method that needs them.")
    whole: GramBlock | None = None
    with track("score blocks", len(evidence.train.blocks)) as advance:
        for named in evidence.train.blocks:
            begun = time.perf_counter()
            train, query = evidence.read(gradient_name(named.name))
            block = GramBlock.of(train.reshape(len(train), -1), query.reshape(len(query), -1))
            if "whole" in scopes:
                whole = block if whole is None else whole + block
            seconds[SHARED] += time.perf_counter() - begun
            if "block" in scopes:
                yield "block", block
            advance(1)
    if whole is not None:
        yield "whole", whole


def _scores(
    m: Method, values: np.ndarray, evidence: Evidence, measured: dict[str, object]
) -> Scores:
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
        unit=m.unit,
    )


def _require_one_model(evidence: Evidence) -> None:
    if evidence.train is None or evidence.query is None:
        return
    for source, rows, name in (
        (evidence.train, evidence.train_rows, "training"),
        (evidence.query, evidence.query_rows, "query"),
    ):
        if source.ids != tuple(row.id for row in rows):
            raise SettingError(f"the {name} signals are of other rows than those given.")
    left, right = dict(evidence.train.identity), dict(evidence.query.identity)
    for identity in (left, right):
        identity.pop("rows", None)
    require_same(
        left,
        right,
        "the training signals",
        "the query signals",
        "Index both again with the same model, adapter and recipe.",
    )
