"""Every method against an independent transcription in dense float64."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from drawn import (
    BLOCKS,
    MEAN,
    NONZERO,
    A,
    N,
    Q,
    close,
    damping,
    dense,
    edited,
    evidence,
    score,
)
from tiny import Plugin, tiny_rows
from wherefrom import registry
from wherefrom.curvature import GramBlock
from wherefrom.errors import IdentityError, SettingError
from wherefrom.methods import (
    DirectMethod,
    Evidence,
    Resource,
    Trait,
    parse_method,
    registered,
    score_all,
    select_methods,
    split_specs,
)
from wherefrom.signals import POOLS, Side
from wherefrom.signals import gradient_name as g
from wherefrom.signals import hidden_name as h

EVERY = [m for m in select_methods(["all"]) if Resource.EMBEDDER not in m.requires]


@pytest.mark.parametrize("recipe", [MEAN, NONZERO])
@pytest.mark.parametrize("scope", ["block", "whole"])
def test_influence_is_the_dense_damped_inverse(recipe, scope):
    ev = evidence(recipe)
    want = 0
    for train, query in dense(ev.final, scope):
        fisher = train.T @ train / N + damping(recipe, train) * np.eye(train.shape[1])
        want = want + query @ np.linalg.solve(fisher, train.T)
    close(score(f"influence(scope={scope})", ev), want)


@pytest.mark.parametrize("scope", ["block", "whole"])
def test_relative_influence_divides_by_the_root_of_self_influence(scope):
    ev = evidence()
    raw, own = 0, 0
    for train, query in dense(ev.final, scope):
        fisher = train.T @ train / N + damping(NONZERO, train) * np.eye(train.shape[1])
        solved = np.linalg.solve(fisher, train.T)
        raw = raw + query @ solved
        own = own + np.einsum("np,pn->n", train, solved)
    close(score(f"relative_influence(scope={scope})", ev), raw / np.sqrt(own))


@pytest.mark.parametrize("recipe", [MEAN, NONZERO])
def test_datainf_is_its_published_sum_over_rows(recipe):
    ev = evidence(recipe)
    want = np.zeros((Q, N))
    for train, query in dense(ev.final, "block"):
        lam = damping(recipe, train)
        for a in range(Q):
            for k in range(N):
                total = 0.0
                for i in range(N):
                    weight = (query[a] @ train[i]) / (lam + train[i] @ train[i])
                    total += (query[a] @ train[k] - weight * (train[i] @ train[k])) / lam
                want[a, k] += total / N
    close(score("datainf", ev), want)


def test_lissa_is_its_iteration_and_reports_its_true_residual():
    ev = evidence()
    got = score("lissa(steps=7)", ev)
    want, residuals = 0, []
    for train, query in dense(ev.final, "block"):
        lam = damping(NONZERO, train)
        fisher = train.T @ train / N + lam * np.eye(train.shape[1])
        scale = 1.1 * np.linalg.eigvalsh(fisher)[-1]
        v = query.copy()
        for _ in range(7):
            v = query + v - v @ fisher / scale
        want = want + v @ train.T / scale
        left = np.linalg.norm(v @ fisher / scale - query, axis=1) / np.linalg.norm(query, axis=1)
        residuals.append(np.sqrt(np.mean(left**2)))
    close(got, want)
    assert got.settings["mean residual"] == pytest.approx(np.mean(residuals), rel=1e-6)
    assert got.settings["mean steps"] == 7


def test_lissa_converges_to_the_exact_solution():
    ev = evidence()
    exact, iterated = score("influence", ev), score("lissa(tolerance=1e-8)", ev)
    close(iterated, exact.values)
    assert iterated.settings["mean residual"] < 1e-7


def test_the_papers_lissa_is_its_three_steps_and_next_to_nothing():
    ev = evidence(MEAN)
    want = 0
    for train, query in dense(ev.final, "block"):
        lam = damping(MEAN, train)
        fisher = train.T @ train / N - lam * np.eye(train.shape[1])
        v = query.copy()
        for _ in range(3):
            v = query + v - v @ fisher / 1000
        want = want + v @ train.T
    close(score("paper_lissa", ev), want)
    small = evidence(MEAN)
    for side in (Side.TRAIN, Side.QUERY):
        for block in BLOCKS:
            small.final.source(side).read(g(block.name))[:] *= 1e-3
    dot = score("gradient_dot", small).values
    np.testing.assert_allclose(score("paper_lissa", small).values, 4 * dot, rtol=0.02, atol=1e-5)


def test_products_and_cosines():
    ev = evidence()
    close(score("gradient_dot", ev), sum(q @ t.T for t, q in dense(ev.final, "block")))
    want = np.mean([cosine_similarity(q, t) for t, q in dense(ev.final, "block")], axis=0)
    close(score("gradient_cosine", ev), want)
    (train, query), *_ = dense(ev.final, "whole")
    close(score("gradient_cosine(scope=whole)", ev), cosine_similarity(query, train))


@pytest.mark.parametrize("position", POOLS)
@pytest.mark.parametrize("centre", ["true", "false"])
def test_repsim_is_the_cosine_of_states(position, centre):
    ev = evidence()
    train, query = (a[:, 1] for a in ev.read(h(position)))
    if centre == "true":
        train, query = train - train.mean(0), query - train.mean(0)
    got = score(f"repsim(position={position}, layer=1, centre={centre})", ev)
    np.testing.assert_allclose(got.values, cosine_similarity(query, train), atol=1e-5)
    with pytest.raises(SettingError, match="layer 9"):
        score("repsim(layer=9)", ev)


def test_tfidf_is_that_of_scikit_learn():
    ev = evidence()
    texts = [f"{r.prompt}\n{r.response}" for r in (*ev.train_rows, *ev.query_rows)]
    vectors = TfidfVectorizer(token_pattern=r"\w+").fit(texts[:N]).transform(texts)
    np.testing.assert_allclose(
        score("tfidf", ev).values, cosine_similarity(vectors[N:], vectors[:N]), atol=1e-6
    )


def test_bm25_finds_the_row_that_says_the_same():
    rows = tiny_rows(8)
    train = Evidence(rows, rows, NONZERO)
    top = score("bm25", train).top(1).indices[:, 0]
    texts = [(r.prompt, r.response) for r in rows]
    assert all(texts[i] == texts[best] for i, best in enumerate(top))


@pytest.mark.parametrize("m", EVERY, ids=lambda m: m.spec)
def test_row_order_changes_nothing_and_calls_repeat(m):
    ev = evidence()
    first = score_all([m], ev).scores[0]
    again = score_all([m], ev).scores[0]
    np.testing.assert_array_equal(first.values, again.values)
    order = np.random.default_rng(3).permutation(N)
    rows = [ev.train_rows[i] for i in order]

    def shuffle(source):
        source.ids = tuple(source.ids[i] for i in order)
        for name in source.names():
            source.read(name)[:] = source.read(name)[order]

    edited(ev, shuffle)
    other = replace(ev, train_rows=rows)
    got = score_all([m], other).scores[0].values
    scale = np.abs(first.values).max()
    np.testing.assert_allclose(got, first.values[:, order], rtol=1e-5, atol=1e-6 * scale)
    assert first.settings["recipe"] == "sound-1"
    assert first.unit


@pytest.mark.parametrize("m", EVERY, ids=lambda m: m.spec)
def test_duplicates_stay_apart_and_score_alike(m):
    ev = evidence()
    if Trait.NO_EVIDENCE in m.traits and Trait.QUERY_FREE not in m.traits:
        return

    def double(source):
        for name in source.names():
            source.read(name)[1] = source.read(name)[0]

    rows = list(ev.train_rows)
    rows[1] = rows[0].of(rows[1].id, rows[0].prompt, rows[0].response, rows[0].label)
    twins = replace(edited(ev, double), train_rows=rows)
    values = score_all([m], twins).scores[0].values
    scale = np.abs(values).max()
    np.testing.assert_allclose(values[:, 0], values[:, 1], rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("m", EVERY, ids=lambda m: m.spec)
def test_one_training_row_is_enough(m):
    assert score_all([m], evidence(n=1)).scores[0].values.shape == (Q, 1)


def test_a_block_without_gradient_says_nothing_and_all_of_them_are_an_error():
    ev = evidence()
    want = score("influence", ev).values
    part = sum(
        GramBlock.of(t, q).filtered(lambda s, t=t: 1 / (s + damping(NONZERO, t)))
        for t, q in dense(ev.final, "block")[1:]
    )
    ev.final.source(Side.TRAIN).read(g(A))[:] = 0
    np.testing.assert_allclose(score("influence", ev).values, part, rtol=1e-5, atol=1e-6)
    assert not np.allclose(want, part)
    for block in BLOCKS:
        ev.final.source(Side.TRAIN).read(g(block.name))[:] = 0
    with pytest.raises(SettingError, match="gradient is zero"):
        score("influence", ev)


def test_gram_of_blocks_adds_up_and_energy_is_all_there():
    rng = np.random.default_rng(0)
    parts = [(rng.normal(size=(5, p)), rng.normal(size=(3, p))) for p in (4, 20)]
    whole = GramBlock.of(*(np.concatenate([p[i] for p in parts], 1) for i in (0, 1)))
    added = GramBlock.of(*parts[0]) + GramBlock.of(*parts[1])
    np.testing.assert_allclose(added.gram, whole.gram)
    np.testing.assert_allclose(added.cross, whole.cross)
    assert added.size == whole.size == 24
    for block in (whole, GramBlock.of(*parts[0])):
        inside, outside = block.query_energy()
        np.testing.assert_allclose(inside.sum(1) + outside, block.query_norms)
    train, query = parts[0]
    np.testing.assert_allclose(GramBlock.of(train, query).query_energy()[1], 0, atol=1e-9)


def test_signals_of_two_models_are_refused_with_both_sides_printed():
    ev = evidence()
    ev.final.source(Side.TRAIN).identity = {"adapter": "aaa", "rows": "1"}
    ev.final.source(Side.QUERY).identity = {"adapter": "bbb", "rows": "2"}
    with pytest.raises(IdentityError, match=r"'aaa'.*'bbb'") as caught:
        score("gradient_dot", ev)
    assert "rows" not in str(caught.value)


def test_specs_are_read_back_and_mistakes_list_what_there_is():
    for name in registered():
        assert parse_method(name).spec == name
    assert parse_method("influence( damping = 0.5 , scope=whole)").damping == 0.5
    assert parse_method("repsim(centre=true, layer=3)").spec == "repsim(layer=3, centre=true)"
    assert split_specs("a(x=1,y=2), b") == ["a(x=1,y=2)", "b"]
    for wrong, told in [
        ("nothing", "gradient_dot"),
        ("influence(foo=1)", "scope=block"),
        ("influence(damping=much)", "must be a number"),
        ("influence(damping=0)", "above 0"),
        ("influence(scope=half)", "block, whole"),
        ("repsim(centre=7)", "true or false"),
        ("repsim(position=here)", "last_prompt"),
        ("bm25(text=none)", "text"),
    ]:
        with pytest.raises(SettingError, match=told):
            parse_method(wrong)
    with pytest.raises(SettingError, match="no method was chosen"):
        select_methods([])


def test_methods_of_other_packages_are_found_and_broken_ones_named(monkeypatch):
    @dataclass(frozen=True)
    class Theirs(DirectMethod):
        def score(self, evidence):
            return np.zeros((len(evidence.query_rows), len(evidence.train_rows)))

    random = registered()["random"]
    plugins = [
        Plugin("theirs", Theirs),
        Plugin("broken", ImportError("no torchx")),
        Plugin("function", lambda: 0),
        Plugin("otherwise", random),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: plugins)
    assert registered()["theirs"] is Theirs
    assert parse_method("theirs").spec == "theirs"
    assert not {"function", "otherwise"} & registered().keys()
    with pytest.raises(SettingError, match="no Method class"):
        parse_method("function")
    with pytest.raises(SettingError, match="calls itself 'random'"):
        parse_method("otherwise")
    assert "broken" not in registered()
    with pytest.raises(SettingError, match=r"elsewhere:thing.*no torchx"):
        parse_method("broken")
