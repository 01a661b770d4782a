"""Curvature of all blocks of a run together: one walk over the gradients, under λ and its multiples."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from wherefrom.curvature import CovarianceBlock, DampingRule, FisherBlock, GramBlock
from wherefrom.diagnose._finding import NotMeasured
from wherefrom.diagnose._spectrum import (
    BlockSpectrum,
    damped,
    effective_dimension,
    energy_above,
    measure_block,
    share_changed,
)
from wherefrom.diagnose._subject import Subject
from wherefrom.methods import DampedMethod, parse_method
from wherefrom.metrics import rank_agreement, top_overlap
from wherefrom.scores import Scores
from wherefrom.signals import Side, Source, gradient_name

MULTIPLIERS = tuple(float(m) for m in np.logspace(-4, 4, 17))
"""Of λ: half a decade apart."""


@dataclass(frozen=True)
class Agreement:
    """How far two rankings of the training rows agree; means over queries.

    Attributes:
        spearman: rank correlation over all rows.
        overlap: share of the top k rows in common.
        changed: `share_changed` of the first by the second.
    """

    spearman: float
    overlap: float
    changed: float


@dataclass(frozen=True)
class CurvatureSurvey:
    """What damped curvature does to a run's answers, summed over blocks.

    Three answers are compared. `influence` Σ_b q(F_b + λ_b I)⁻¹g; `plain`, without the Hessian: Σ_b q·g;
    and `weighted` Σ_b q·g/λ_b, which is what influence becomes if (F + λI)⁻¹ ≈ I/λ. The last two differ
    only because each block has its own λ: so influence against weighted is what the eigendirections
    change, and against plain what they and the weights of blocks change together.

    Attributes:
        rule: `mean` or `nonzero`.
        strength: c of the rule.
        k: how many rows `overlap` looks at.
        blocks: those whose gradients are not all zero.
        plain: influence against `plain`, at λ.
        weighted: influence against `weighted`, at λ.
        tenth: influence at λ against that at λ/10.
        tenfold: influence at λ against that at 10 λ.
        multipliers: multiples of λ at which the curves are given.
        dimension: d_λ / n, mean over blocks.
        train_energy: share of a training row's gradient above λ, mean over rows and blocks.
        query_energy: the same of queries.
        spearman: influence against `plain`, mean over queries.
        spearman_weighted: influence against `weighted`.
        scores: influence at every multiple of λ, queries × training rows each.
    """

    rule: DampingRule
    strength: float
    k: int
    blocks: tuple[BlockSpectrum, ...]
    plain: Agreement
    weighted: Agreement
    tenth: Agreement
    tenfold: Agreement
    multipliers: tuple[float, ...]
    dimension: tuple[float, ...]
    train_energy: tuple[float, ...]
    query_energy: tuple[float, ...]
    spearman: tuple[float, ...]
    spearman_weighted: tuple[float, ...]
    scores: tuple[Scores, ...]

    def mean(self, attribute: str) -> float:
        """Mean over blocks of one of their numbers."""
        return float(np.mean([getattr(block, attribute) for block in self.blocks]))

    def median(self, attribute: str) -> float:
        """Median over blocks of one of their numbers."""
        return float(np.median([getattr(block, attribute) for block in self.blocks]))


def survey_curvature(
    train: Source,
    query: Source,
    rule: DampingRule,
    strength: float,
    k: int = 10,
    multipliers: tuple[float, ...] = MULTIPLIERS,
) -> CurvatureSurvey:
    """Reads gradients block by block and lets them go: one block and a few n × n matrices in memory.

    Args:
        train: signals of the training rows.
        query: signals of the queries.
        rule: λ = c·tr(F)/p by `mean`, c·tr(F)/min(n, p) by `nonzero`.
        strength: c.
        k: how many top rows an answer consists of.
        multipliers: multiples of λ for the curves.

    Raises:
        NotMeasured: there are no gradients, they are all zero or not all finite, there are no queries, or
            the training rows all score alike.
    """
    if not train.blocks:
        raise NotMeasured("no gradients were captured")
    if not query.ids:
        raise NotMeasured("there are no queries")
    wanted = sorted({*multipliers, 0.1, 1.0, 10.0})
    shape = (len(query.ids), len(train.ids))
    sums = {m: np.zeros(shape) for m in wanted}
    plain, weighted = np.zeros(shape), np.zeros(shape)
    blocks: list[BlockSpectrum] = []
    curves = []
    for one in train.blocks:
        g, q = train.read(gradient_name(one.name)), query.read(gradient_name(one.name))
        if not (np.isfinite(g).all() and np.isfinite(q).all()):
            raise NotMeasured("some gradients are NaN or Inf")
        block = _block(g, q)
        if not block.train_norms.any():
            continue
        lam = block.damping(rule, strength)
        found = measure_block(one.name, block, lam)
        blocks.append(found)
        plain += block.cross
        weighted += block.cross / lam
        for m in wanted:
            sums[m] += damped(block, m * lam)
        curves.append([_at(block, found, m * lam) for m in multipliers])
    if not blocks:
        raise NotMeasured("every training row's gradient is zero in every block")
    k = min(k, len(train.ids))
    free = _scores(plain, query, train, "plain")
    reweighted = _scores(weighted, query, train, "weighted")
    influence = {m: _scores(values, query, train, f"{m:g} λ") for m, values in sums.items()}
    if not np.isfinite(_spearman(influence[1.0], free)):
        raise NotMeasured("all training rows score alike")
    dimension, train_energy, query_energy = np.nanmean(np.array(curves), axis=0).T
    return CurvatureSurvey(
        rule=rule,
        strength=strength,
        k=k,
        blocks=tuple(blocks),
        plain=_agreement(influence[1.0], free, k),
        weighted=_agreement(influence[1.0], reweighted, k),
        tenth=_agreement(influence[1.0], influence[0.1], k),
        tenfold=_agreement(influence[1.0], influence[10.0], k),
        multipliers=tuple(multipliers),
        dimension=tuple(dimension.tolist()),
        train_energy=tuple(train_energy.tolist()),
        query_energy=tuple(query_energy.tolist()),
        spearman=tuple(_spearman(influence[m], free) for m in multipliers),
        spearman_weighted=tuple(_spearman(influence[m], reweighted) for m in multipliers),
        scores=tuple(influence[m] for m in multipliers),
    )


_SURVEYS: WeakKeyDictionary[Subject, CurvatureSurvey] = WeakKeyDictionary()


def surveyed(subject: Subject) -> CurvatureSurvey:
    """The final model's survey, made once a subject.

    λ is that of the method whose answers are checked, where it has one, else the recipe's; modifiers of
    the method (centring, normalising) are not applied.

    Raises:
        NotMeasured: there are no gradients or queries.
    """
    if subject not in _SURVEYS:
        sources = subject.final.point.sources
        if Side.TRAIN not in sources or Side.QUERY not in sources:
            raise NotMeasured("no pass was made at final")
        method, recipe = parse_method(subject.method), subject.recipe
        rule, strength = recipe.damping_rule, recipe.damping
        if isinstance(method, DampedMethod):
            rule, strength = method.strength(recipe)
        _SURVEYS[subject] = survey_curvature(
            sources[Side.TRAIN], sources[Side.QUERY], rule, strength, subject.k
        )
    return _SURVEYS[subject]


def _block(train: np.ndarray, query: np.ndarray) -> FisherBlock:
    g, q = train.reshape(len(train), -1), query.reshape(len(query), -1)
    # the smaller of the two forms; both give the same numbers
    return CovarianceBlock.of(g, q) if g.shape[1] < len(g) else GramBlock.of(g, q)


def _at(block: FisherBlock, found: BlockSpectrum, lam: float) -> tuple[float, float, float]:
    train, query = energy_above(block, lam)
    dimension = effective_dimension(found.eigenvalues, lam) / block.rows
    queries = query[np.isfinite(query)]
    return (
        dimension,
        float(np.nanmean(train)),
        float(queries.mean()) if len(queries) else np.nan,
    )


def _scores(values: np.ndarray, query: Source, train: Source, name: str) -> Scores:
    return Scores(values, query.ids, train.ids, name)


def _agreement(first: Scores, second: Scores, k: int) -> Agreement:
    changed = share_changed(first.values.astype(np.float64), second.values.astype(np.float64))
    known = changed[np.isfinite(changed)]
    return Agreement(
        spearman=_spearman(first, second),
        overlap=float(top_overlap(first, second, k).mean()),
        changed=float(known.mean()) if len(known) else float("nan"),
    )


def _spearman(first: Scores, second: Scores) -> float:
    found = rank_agreement(first, second)
    known = found[np.isfinite(found)]
    return float(known.mean()) if len(known) else float("nan")
