"""Scores of rows that pass by, against those of all rows in memory."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from drawn import BLOCKS, MEAN, NONZERO, A, Q, evidence
from wherefrom.curvature import CovarianceBlock, PassingRows
from wherefrom.errors import IdentityError, NonFiniteError, SettingError, StoreError
from wherefrom.methods import (
    BlockMethod,
    cannot_stream,
    parse_method,
    score_all,
    score_top,
    select_methods,
)
from wherefrom.methods._gradient import GradientDot
from wherefrom.signals import MemorySignals, Side, SignalArray
from wherefrom.signals import gradient_name as g

N = 30
EVERY = [m.spec for m in select_methods(["all"]) if cannot_stream(m) is None]
MODIFIED = (
    "gradient_dot(normalise=row)",
    "gradient_dot(normalise=block, centre=true)",
    "gradient_dot(whiten=1.0)",
    "gradient_dot(scope=whole, centre=true)",
    "gradient_cosine(centre=true, whiten=0.5)",
    "gradient_cosine(scope=whole, centre=true)",
    "influence(normalise=row, centre=true, whiten=1.0)",
    "influence(normalise=block)",
    "influence(curvature=true, normalise=row)",
    "influence(scope=whole, normalise=row)",
    "influence(project=2, reference=true)",
    "influence(tokens=first5, layers=last1)",
    "datainf(curvature=true, centre=true)",
    "conjugate_gradient(tolerance=1e-8, curvature=true)",
    "relative_influence(normalise=row, centre=true)",
    "relative_influence(scope=whole)",
    "rescaled_influence(checkpoints=mean)",
    "influence(checkpoints=rate, minus_base=true)",
    "gradient_cosine(checkpoints=mean, minus_base=true)",
)


def rechunked(source, sizes, order=None):
    """The same signals in other chunks, by default in the order of the data set."""
    arrays = [
        SignalArray(n, source.read(n).shape[1:], str(source.read(n).dtype)) for n in source.names()
    ]
    order = np.arange(len(source.ids)) if order is None else order
    held = MemorySignals(source.ids, source.blocks, arrays, order, sizes, source.identity)
    for name in source.names():
        held.read(name)[:] = source.read(name)
    return held


def with_train(ev, change):
    """The same evidence, every state's training signals replaced by `change` of them."""
    done = {}

    def moved(point):
        if point is None:
            return None
        if id(point) not in done:
            train = change(point.source(Side.TRAIN))
            done[id(point)] = replace(point, sources={**point.sources, Side.TRAIN: train})
        return done[id(point)]

    return replace(
        ev,
        final=moved(ev.final),
        checkpoints=[moved(p) for p in ev.checkpoints],
        base=moved(ev.base),
        draws=[moved(p) for p in ev.draws],
    )


def test_every_method_on_products_streams_and_says_so():
    assert {parse_method(s).name for s in EVERY} == {
        m.name
        for m in select_methods(["all"])
        if isinstance(m, BlockMethod) and not m.raw_gradients
    }


@pytest.mark.parametrize("recipe", [MEAN, NONZERO])
@pytest.mark.parametrize("spec", [*EVERY, *MODIFIED])
def test_streamed_scores_are_the_dense_ones(spec, recipe):
    ev = evidence(recipe, n=N)
    m = parse_method(spec)
    (dense,) = score_all([m], ev, quiet=True).scores
    (top,) = score_top([m], ev, N, quiet=True)
    assert (top.method, top.unit, top.rows, top.query_ids) == (
        m.spec,
        dense.unit,
        N,
        dense.query_ids,
    )
    scale = np.abs(dense.values).max()
    assert scale > 0
    for ranked in (top.proponents, top.opponents):
        want = np.take_along_axis(dense.values, ranked.indices, 1)
        np.testing.assert_allclose(ranked.values, want, rtol=1e-4, atol=1e-5 * scale)
        assert (np.sort(ranked.indices, 1) == np.arange(N)).all()
    assert dense.settings.keys() == top.settings.keys()
    for key, value in dense.settings.items():
        if isinstance(value, float):
            assert top.settings[key] == pytest.approx(value, rel=1e-3, abs=1e-6), key
        else:
            assert top.settings[key] == value, key


@pytest.mark.parametrize("sizes", [[N], [1] * N, [7, 7, 7, 7, 2]])
def test_chunks_and_their_order_change_nothing_beyond_rounding(sizes, monkeypatch):
    methods = select_methods(["gradient_dot", "influence", "relative_influence", "gradient_cosine"])
    ev = evidence(n=N)
    want = score_top(methods, ev, 5, quiet=True)
    order = np.random.default_rng(0).permutation(N)
    monkeypatch.setattr("wherefrom.methods._streamed._SLICE", 4)
    got = score_top(methods, with_train(ev, lambda s: rechunked(s, sizes, order)), 5, quiet=True)
    for one, other in zip(got, want, strict=True):
        for a, b in ((one.proponents, other.proponents), (one.opponents, other.opponents)):
            assert np.array_equal(a.indices, b.indices)
            np.testing.assert_allclose(a.values, b.values, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
def test_workers_change_nothing(threads, monkeypatch):
    methods = [parse_method(spec) for spec in (*EVERY, *MODIFIED)]
    ev = with_train(evidence(n=N), lambda s: rechunked(s, [2] * (N // 2)))
    want = score_top(methods, ev, 5, quiet=True)
    for module in ("_workers", "_streamed", "_fits"):
        monkeypatch.setattr(f"wherefrom.methods.{module}.workers", lambda: threads)
    for one, other in zip(score_top(methods, ev, 5, quiet=True), want, strict=True):
        assert np.array_equal(one.proponents.indices, other.proponents.indices)
        np.testing.assert_allclose(one.proponents.values, other.proponents.values, rtol=1e-5)


def test_rows_that_score_alike_are_ranked_as_dense_scores_rank_them():
    ev = evidence(n=N)
    for block in BLOCKS:
        held = ev.final.source(Side.TRAIN).read(g(block.name))
        held[:] = np.round(held[:3][np.arange(N) % 3])
    m = parse_method("gradient_dot")
    (dense,) = score_all([m], ev, quiet=True).scores
    (top,) = score_top([m], with_train(ev, lambda s: rechunked(s, [4] * 7 + [2])), 4, quiet=True)
    want = dense.ends(4)
    assert np.array_equal(top.proponents.ids, want.proponents.ids)
    assert np.array_equal(top.opponents.ids, want.opponents.ids)


def test_methods_scored_together_score_as_they_do_alone():
    methods = [parse_method(spec) for spec in (*EVERY, *MODIFIED)]
    ev = evidence(n=N)
    for together in score_top(methods, ev, 3, quiet=True):
        (alone,) = score_top([parse_method(together.method)], ev, 3, quiet=True)
        assert np.array_equal(together.proponents.ids, alone.proponents.ids)
        np.testing.assert_allclose(
            together.proponents.values, alone.proponents.values, rtol=1e-4, atol=1e-7
        )


@dataclass(frozen=True)
class Squared(GradientDot):
    """Overrides what made its parent linear and does not say so."""

    name = "squared"

    def finish(self, sums, blocks):
        return sums["score"] ** 2


def test_a_method_that_changes_a_linear_one_is_not_taken_for_linear():
    assert GradientDot().is_linear()
    assert not Squared().is_linear()
    ev = evidence(n=N)
    (dense,) = score_all([Squared()], ev, quiet=True).scores
    (top,) = score_top([Squared()], ev, 3, quiet=True)
    np.testing.assert_allclose(top.proponents.values, dense.top(3).values, rtol=1e-4)


def test_a_block_without_gradients_counts_for_nothing():
    ev = evidence(n=N)
    ev.final.source(Side.TRAIN).read(g(A))[:] = 0
    for spec in ("gradient_cosine", "influence", "relative_influence"):
        (dense,) = score_all([parse_method(spec)], ev, quiet=True).scores
        (top,) = score_top([parse_method(spec)], ev, 3, quiet=True)
        np.testing.assert_allclose(top.proponents.values, dense.top(3).values, rtol=1e-4)
    for block in BLOCKS:
        ev.final.source(Side.TRAIN).read(g(block.name))[:] = 0
    with pytest.raises(SettingError, match="zero in every block"):
        score_top([parse_method("influence")], ev, quiet=True)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("repsim", "all rows at once"),
        ("bm25", "all rows at once"),
        ("ekfac", "gradients of all rows"),
        ("influence(aggregate=rank)", "rank in every layer"),
        ("influence(form=dual)", "products of all rows"),
    ],
)
def test_what_cannot_stream_is_refused_with_the_way_out(spec, why):
    with pytest.raises(SettingError, match=f"{why}.*Leave it out"):
        score_top([parse_method(spec)], evidence(n=N), quiet=True)


def test_curvature_over_the_budget_is_refused_with_a_projection_that_fits():
    ev = evidence(n=N)
    with pytest.raises(
        SettingError, match=r"layers.1.attn.b, 30 entries wide.*Give project=(\d)"
    ) as e:
        score_top([parse_method("influence")], ev, memory=30_000, quiet=True)
    side = str(e.value).split("project=")[1].split(" ")[0]
    score_top([parse_method(f"influence(project={side})")], ev, memory=30_000, quiet=True)
    # no curvature, no limit
    score_top(select_methods(["gradient_dot", "datainf"]), ev, memory=100, quiet=True)


def test_a_method_that_asks_for_all_rows_at_once_is_told():
    fit = CovarianceBlock.of(np.ones((4, 2)), np.ones((1, 2)))
    for ask in (
        lambda b: b.centred(),
        lambda b: b.whitened(1.0),
        lambda b: b.scaled(np.ones(1), np.ones(1)),
    ):
        with pytest.raises(SettingError, match="all rows in memory"):
            ask(PassingRows(fit, np.ones((1, 2))))


def test_states_in_different_chunks_are_refused():
    ev = evidence(n=N)
    final = with_train(ev, lambda s: rechunked(s, [N])).final
    ev = replace(ev, checkpoints=[ev.checkpoints[0], final], final=final)
    with pytest.raises(StoreError, match="different chunks"):
        score_top([parse_method("tracin")], ev, quiet=True)


def test_wrong_input_is_refused():
    ev = evidence(n=N)
    ev.final.source(Side.TRAIN).identity["model"] = "x"
    ev.final.source(Side.QUERY).identity["model"] = "y"
    with pytest.raises(IdentityError, match=r"'x'.*'y'"):
        score_top([parse_method("gradient_dot")], ev, quiet=True)
    with pytest.raises(SettingError, match="k must be at least 1"):
        score_top([parse_method("gradient_dot")], ev, 0)
    assert score_top([], evidence(n=N)) == []


def test_a_row_that_is_not_finite_is_named():
    ev = evidence(n=N)
    ev.final.source(Side.TRAIN).read(g(A))[7] = np.nan
    row = ev.train_rows[7].id
    with pytest.raises(NonFiniteError, match=f"gradient_dot gave nan.*'{row}'"):
        score_top([parse_method("gradient_dot")], ev, quiet=True)


def test_no_queries_and_few_rows():
    ev = evidence(n=3, q=1)
    (top,) = score_top([parse_method("gradient_dot")], ev, 100, quiet=True)
    assert top.proponents.indices.shape == (1, 3)
    assert Q > 1
