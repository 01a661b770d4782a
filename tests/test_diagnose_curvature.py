"""Mechanism 1 against dense matrices, another path to the same scores, and gradients made to order."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from tiny import tiny_rows
from wherefrom.curvature import CovarianceBlock, GramBlock
from wherefrom.data import get_recipe
from wherefrom.diagnose import NotMeasured, Stage, Subject, run_checks
from wherefrom.diagnose._curvature_survey import survey_curvature, surveyed
from wherefrom.diagnose._spectrum import (
    damped,
    effective_dimension,
    measure_block,
    share_changed,
)
from wherefrom.methods import Point
from wherefrom.signals import Block, MemorySignals, Side, SignalArray, gradient_name

N, Q = 12, 5
CHECKS = ("curvature-energy", "curvature-agreement")
WIDE, NARROW, DEAD = Block("wide", (6, 5)), Block("narrow", (2, 3)), Block("dead", (4,))


class Silent:
    """A probe that nobody may ask."""


def source(ids, gradients):
    """Signals that hold given gradients, by block."""
    blocks = tuple(gradients)
    arrays = [SignalArray(gradient_name(b.name), b.shape) for b in blocks]
    held = MemorySignals(ids, blocks, arrays, np.arange(len(ids)), [len(ids)], {})
    for block, values in gradients.items():
        held.read(gradient_name(block.name))[:] = values.reshape(len(ids), *block.shape)
    return held


def subject(train, query, method="influence", recipe="sound-1", k=3):
    """A run with given gradients and nothing else."""
    n, q = (len(next(iter(g.values()))) for g in (train, query))
    rows = tiny_rows(n + q)
    ids = tuple(r.id for r in rows[:n]), tuple(r.id for r in rows[n:])
    sides = {Side.TRAIN: source(ids[0], train), Side.QUERY: source(ids[1], query)}
    stages = [Stage("final", 3, {}, Point("final", sides))]
    recipe = get_recipe(recipe)
    return Subject(rows[:n], rows[n:], [], [], recipe, method, k, stages, Silent())


def drawn(seed=0, n=N, q=Q):
    """Two blocks of anisotropic gradients of very different size, one of them wider than there are rows."""
    rng = np.random.default_rng(seed)
    train, query = {}, {}
    for block, size in ((WIDE, 100.0), (NARROW, 0.01)):
        scale = size * np.logspace(0, -2, block.size)
        turn = np.linalg.qr(rng.normal(size=(block.size, block.size)))[0]
        train[block] = (rng.normal(size=(n, block.size)) * scale) @ turn
        query[block] = (rng.normal(size=(q, block.size)) * scale) @ turn
    return train, query


def findings(one):
    return {f.check: f for f in run_checks(one, CHECKS)}


@pytest.mark.parametrize("form", [GramBlock, CovarianceBlock])
@pytest.mark.parametrize("block", [WIDE, NARROW])
def test_a_blocks_spectrum_is_that_of_the_dense_fisher(form, block):
    train, query = (side[block] for side in drawn())
    fisher = train.T @ train / N
    lam = 0.3 * np.trace(fisher) / block.size
    found = measure_block("b", form.of(train, query), lam)
    sigma, vectors = np.linalg.eigh(fisher)
    real = sigma > 1e-12 * sigma.max()
    np.testing.assert_allclose(found.eigenvalues, sigma[real][::-1], rtol=1e-6)
    assert found.rank == min(N, block.size)
    above = sigma > lam
    assert 0 < found.above == above.sum() < found.rank
    assert found.quantile == pytest.approx(1 - above.sum() / real.sum())
    assert found.ratio == pytest.approx(lam / sigma[-1])

    def share(rows, chosen):
        return np.mean(((rows @ vectors[:, chosen]) ** 2).sum(1) / (rows**2).sum(1))

    assert found.train_energy == pytest.approx(share(train, above))
    assert found.query_energy == pytest.approx(share(query, above))
    assert found.query_outside == pytest.approx(share(query, ~real), abs=1e-9)
    assert found.trace_above == pytest.approx(sigma[above].sum() / sigma.sum())
    inverse = np.linalg.inv(fisher + lam * np.eye(block.size))
    assert found.effective_dimension == pytest.approx(np.trace(fisher @ inverse))
    scores, plain = query @ inverse @ train.T, query @ train.T
    unexplained = []
    for a, b in zip(scores, plain, strict=True):
        line = np.polyfit(b, a, 1)
        rest = ((a - np.polyval(line, b)) ** 2).sum() / ((a - a.mean()) ** 2).sum()
        unexplained.append(rest if line[0] > 0 else 1.0)
    assert found.changed == pytest.approx(np.mean(unexplained))


def test_nothing_is_changed_by_a_unit_and_everything_by_a_turned_sign():
    plain = np.random.default_rng(0).normal(size=(3, 8))
    np.testing.assert_allclose(share_changed(1e-9 * plain + 4.0, plain), 0, atol=1e-6)
    np.testing.assert_allclose(share_changed(-plain, plain), 1)
    other = np.random.default_rng(1).normal(size=(3, 8))
    assert (share_changed(plain + 0.5 * other, plain) > 0.01).all()
    assert np.isnan(share_changed(np.ones((1, 8)), plain[:1])).all()


def test_the_effective_dimension_falls_from_the_rank_to_zero():
    sigma = np.array([5.0, 1.0, 1e-3])
    found = [effective_dimension(sigma, lam) for lam in (1e-12, 1e-3, 1.0, 1e9)]
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(3)
    assert found[-1] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rule", ["mean", "nonzero"])
@pytest.mark.parametrize("seed", range(5))
def test_relative_damping_up_to_one_never_lies_above_the_spectrum(rule, seed):
    """tr(F)/min(n, p) is no more than the largest eigenvalue, whatever the rank."""
    for block, train in drawn(seed)[0].items():
        made = GramBlock.of(train, train[:1])
        found = measure_block(block.name, made, made.damping(rule, 1.0))
        assert found.ratio <= 1
        assert found.above >= 1


def test_the_survey_agrees_with_scores_made_by_the_methods():
    one = subject(*drawn())
    found = surveyed(one)
    influence, dot = one.scores("influence").values, one.scores("gradient_dot").values
    want = np.mean([spearmanr(a, b).statistic for a, b in zip(influence, dot, strict=True)])
    assert found.plain.spearman == pytest.approx(want, abs=1e-6)
    assert found.plain.spearman < 0.999
    assert found.plain.changed == pytest.approx(share_changed(influence, dot).mean(), abs=1e-5)
    at = found.multipliers.index(1.0)
    np.testing.assert_allclose(found.scores[at].values, influence, rtol=1e-5)
    assert found.spearman[at] == pytest.approx(found.plain.spearman)
    tenfold = one.scores("influence(damping=10)").values
    np.testing.assert_allclose(
        found.scores[found.multipliers.index(10.0)].values, tenfold, rtol=1e-5
    )
    want = [spearmanr(a, b).statistic for a, b in zip(influence, tenfold, strict=True)]
    assert found.tenfold.spearman == pytest.approx(np.mean(want), abs=1e-6)


def test_much_damping_leaves_gradient_products_that_are_weighted_by_block():
    found = surveyed(subject(*drawn()))
    assert found.spearman_weighted[-1] > 0.999
    # the small block has no voice without curvature and an equal one with it
    assert found.spearman[-1] < 0.99
    for curve in (found.dimension, found.train_energy, found.query_energy):
        assert list(curve) == sorted(curve, reverse=True)
    assert found.query_energy[-1] == 0


def test_a_matrix_without_gradients_is_left_out():
    train, query = drawn()
    with_dead = subject(
        train | {DEAD: np.zeros((N, 4))},
        query | {DEAD: np.random.default_rng(0).normal(size=(Q, 4))},
    )
    assert [b.name for b in surveyed(with_dead).blocks] == ["wide", "narrow"]
    assert surveyed(with_dead).plain == surveyed(subject(train, query)).plain


def test_the_order_of_rows_changes_nothing():
    train, query = drawn()
    order = np.random.default_rng(3).permutation(N)
    turned = survey_curvature(
        source(tuple(f"r{i}" for i in order), {b: g[order] for b, g in train.items()}),
        source(tuple("abcde"), query),
        "nonzero",
        1.0,
        3,
    )
    plain = survey_curvature(
        source(tuple(f"r{i}" for i in range(N)), train),
        source(tuple("abcde"), query),
        "nonzero",
        1.0,
        3,
    )
    assert turned.plain.overlap == plain.plain.overlap
    np.testing.assert_allclose(turned.spearman, plain.spearman, atol=1e-9)
    np.testing.assert_allclose(turned.query_energy, plain.query_energy, atol=1e-9)


def test_the_damping_is_that_of_the_method_whose_answers_are_checked():
    train, query = drawn()
    own = surveyed(subject(train, query, "influence(damping=0.01, rule=mean)"))
    assert (own.rule, own.strength) == ("mean", 0.01)
    ours = surveyed(subject(train, query, "gradient_cosine"))
    assert (ours.rule, ours.strength) == ("nonzero", 1.0)
    paper = surveyed(subject(train, query, recipe="paper-1"))
    assert (paper.rule, paper.strength) == ("mean", 0.1)


def test_damping_within_the_spectrum_is_good():
    found = findings(subject(*drawn()))
    assert {f.level for f in found.values()} == {"good"}
    energy = found["curvature-energy"].values
    assert 0.05 < energy["query energy"] < 1
    assert energy["number of blocks"] == len(energy["blocks"]) == 2


def test_damping_above_the_spectrum_makes_curvature_do_nothing():
    train, query = drawn()
    one = {WIDE: train[WIDE]}, {WIDE: query[WIDE]}
    found = findings(subject(*one, "influence(damping=1e4)"))
    assert found["curvature-energy"].level == "notice"
    assert "above nearly all of the spectrum" in found["curvature-energy"].meaning
    agreement = found["curvature-agreement"]
    assert agreement.level == "notice"
    assert "λ lies above the spectrum" in agreement.meaning
    assert agreement.values["share changed"] == pytest.approx(0, abs=1e-4)


def test_damping_far_below_the_spectrum_is_warned_of():
    found = findings(subject(*drawn(), "influence(damping=1e-6)"))["curvature-energy"]
    assert found.level == "warning"
    assert found.values["directions left"] > 0.8
    assert "λ is low" in found.meaning


def test_a_spectrum_that_shrinks_all_rows_alike_is_told_from_damping():
    """Rows at right angles and of one length: F is a multiple of I on them, however low λ is."""
    rng = np.random.default_rng(0)
    block = Block("wide", (20,))
    rows = np.linalg.qr(rng.normal(size=(20, 8)))[0].T
    train, query = {block: rows}, {block: rng.normal(size=(4, 8)) @ rows}
    found = findings(subject(train, query, "influence(damping=0.1)"))["curvature-agreement"]
    assert found.level == "notice"
    assert found.values["spearman"] > 0.999
    assert "although 100% of a query's gradient" in found.meaning


def test_an_answer_that_hangs_on_the_damping_is_warned_of():
    """A large and a small direction that rank the rows each its own way: λ picks between them."""
    rng = np.random.default_rng(0)
    block = Block("wide", (2,))
    a, b = rng.normal(size=(2, 40))
    train = {block: np.stack([a, 1e-3 * b], 1)}
    query = {block: np.array([[1.0, 1.0], [-1.0, 1.0], [1.0, -1.0]])}
    found = findings(subject(train, query, "influence(damping=6e-3)"))["curvature-agreement"]
    assert found.level == "warning"
    v = found.values
    assert min(v["spearman with λ/10"], v["spearman with 10 λ"]) < 0.7
    assert "hangs on the damping" in found.meaning


@pytest.mark.parametrize("seed", range(5))
def test_a_decade_of_damping_turns_no_block_by_more_than_kantorovichs_bound(seed):
    for block, train in drawn(seed)[0].items():
        made = GramBlock.of(train, drawn(seed)[1][block])
        for lam in np.logspace(-8, 4, 25):
            a, b = damped(made, lam), damped(made, 10 * lam)
            cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            assert cosine.min() >= 2 * np.sqrt(10) / 11 - 1e-9


def test_values_are_json_as_they_are_and_hold_what_a_figure_needs():
    for found in findings(subject(*drawn())).values():
        assert json.loads(json.dumps(found.values, allow_nan=False)) == found.values
        curve = found.values["curve"]
        assert {len(one) for one in curve.values()} == {17}
        assert found.group == "curvature"
        assert all([found.measured, found.normal, found.meaning])


def test_many_blocks_are_thinned_for_the_file():
    rng = np.random.default_rng(0)
    names = [Block(f"b{i}", (3,)) for i in range(300)]
    train, query = ({b: rng.normal(size=(n, 3)) for b in names} for n in (80, 2))
    values = findings(subject(train, query))["curvature-energy"].values
    assert values["number of blocks"] == 300
    assert len(values["blocks"]) == 256
    assert [values["blocks"][i]["name"] for i in (0, -1)] == ["b0", "b299"]
    assert len(values["spectra"]) == 12


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda t, q: ({b: 0 * g for b, g in t.items()}, q), "zero in every block"),
        (lambda t, q: ({}, {}), "no gradients"),
        (lambda t, q: ({b: g * np.nan for b, g in t.items()}, q), "NaN"),
        (lambda t, q: (t, {b: 0 * g for b, g in q.items()}), "score alike"),
        (lambda t, q: (t, {b: g[:0] for b, g in q.items()}), "no queries"),
    ],
)
def test_what_cannot_be_measured_says_why(change, why):
    train, query = drawn()
    ids = tuple(f"r{i}" for i in range(N)), tuple("abcde")
    made = change(train, query)
    queries = ids[1][: len(next(iter(made[1].values()), []))]
    with pytest.raises(NotMeasured, match=why):
        survey_curvature(source(ids[0], made[0]), source(queries, made[1]), "nonzero", 1.0)


def test_a_model_that_was_not_passed_over_is_unknown():
    one = subject(*drawn())
    bare = replace(one, stages=[Stage("final", 3, {}, Point("final", {}))])
    assert {f.level for f in run_checks(bare, CHECKS)} == {"unknown"}
