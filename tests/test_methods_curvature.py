"""Curvature, solvers and the two forms, against dense float64 inverses."""

from threading import get_ident

import numpy as np
import pytest

from drawn import BLOCKS, MEAN, NONZERO, Q, close, damping, dense, evidence, score
from wherefrom.curvature import CovarianceBlock, Features, GramBlock
from wherefrom.errors import SettingError
from wherefrom.methods import BlockMethod, parse_method, score_all, select_methods
from wherefrom.methods._features import RawBlock, matrix_shape, projections
from wherefrom.methods._solvers import _solve
from wherefrom.signals import Block, Side
from wherefrom.signals import gradient_name as g

SPECTRAL = (
    "influence",
    "influence(curvature=true)",
    "relative_influence",
    "relative_influence(curvature=true)",
    "rescaled_influence",
    "self_influence",
    "self_influence(curvature=true)",
    "datainf",
    "datainf(curvature=true)",
    "lissa(tolerance=1e-8)",
    "conjugate_gradient(tolerance=1e-10)",
    "conjugate_gradient(tolerance=1e-10, curvature=true)",
    "arnoldi(k=3)",
    "arnoldi(k=3, curvature=true)",
    "paper_lissa",
    "gradient_dot",
    "gradient_cosine",
    "influence(centre=true)",
    "influence(centre=true, curvature=true)",
    "gradient_dot(whiten=1.0)",
    "gradient_cosine(centre=true, whiten=0.5)",
    "gradient_dot(whiten=1.0, curvature=true)",
    "influence(normalise=block)",
    "influence(normalise=row)",
    "influence(normalise=row, centre=true, whiten=1.0)",
    "influence(project=2)",
    "influence(reference=true)",
    "influence(reference=true, curvature=true)",
    "relative_influence(reference=true, centre=true, normalise=row)",
)


def curved(ev, curvature, block):
    """F, from the training rows or from drawn labels."""
    target = "sampled" if curvature == "true" else "loss"
    rows = ev.final.source(Side.TRAIN).read(g(block.name, target)).reshape(len(ev.train_rows), -1)
    rows = rows.astype(float)
    return rows.T @ rows / len(rows), rows


@pytest.mark.parametrize("recipe", [MEAN, NONZERO])
@pytest.mark.parametrize("form", ["dual", "primal"])
def test_influence_with_the_true_fisher_is_its_dense_inverse(form, recipe):
    ev = evidence(recipe)
    want = 0
    for block, (train, query) in zip(BLOCKS, dense(ev.final), strict=True):
        fisher, rows = curved(ev, "true", block)
        damped = fisher + damping(recipe, rows) * np.eye(len(fisher))
        want = want + query @ np.linalg.solve(damped, train.T)
    close(score(f"influence(curvature=true, form={form})", ev), want)


@pytest.mark.parametrize("spec", SPECTRAL)
def test_dual_and_primal_forms_agree(spec):
    ev = evidence()
    m = parse_method(spec)
    inner = spec.removeprefix(m.name).strip("()")
    dual, primal = (
        score(f"{m.name}({', '.join(filter(None, [inner, f'form={form}']))})", ev).values
        for form in ("dual", "primal")
    )
    scale = np.abs(dual).max()
    assert np.abs(dual - primal).max() <= 1e-5 * scale
    assert scale > 0


@pytest.mark.parametrize("budget", [4e9, 1.0])
def test_workers_change_no_score(budget, monkeypatch):
    methods = [m for m in select_methods(["all"]) if isinstance(m, BlockMethod)]
    methods += [parse_method(spec) for spec in SPECTRAL]
    ev = evidence(n=20)
    want = score_all(methods, ev, quiet=True).scores
    threads = []
    monkeypatch.setattr("wherefrom.methods._workers.workers", lambda: 3)
    monkeypatch.setattr("wherefrom.methods._workers._IN_FLIGHT", budget)
    monkeypatch.setattr("wherefrom.methods._workers._SMALL", 0.0)
    asked = GramBlock.of
    monkeypatch.setattr(
        GramBlock, "of", lambda *rows: (threads.append(get_ident()), asked(*rows))[1]
    )
    for one, other in zip(score_all(methods, ev, quiet=True).scores, want, strict=True):
        assert np.array_equal(one.values, other.values), one.method
        assert one.settings == other.settings
    assert (set(threads) == {get_ident()}) == (budget == 1.0)


@pytest.mark.parametrize("n", [4, 20, 60])
def test_the_smaller_form_is_taken(n):
    ev = evidence(n=n)
    raw = RawBlock(ev.final, BLOCKS[1], "loss")
    assert raw.size == 30
    auto = score("influence", ev).values
    dual = score("influence(form=dual)", ev).values
    np.testing.assert_allclose(auto, dual, rtol=1e-4, atol=1e-5 * np.abs(dual).max())


def test_streamed_features_are_those_in_memory(monkeypatch):
    ev = evidence(n=30)
    whole = [score(f"influence(form=primal{extra})", ev).values for extra in EXTRAS]
    monkeypatch.setattr("wherefrom.methods._features._IN_MEMORY", 0)
    for extra, want in zip(EXTRAS, whole, strict=True):
        got = score(f"influence(form=primal{extra})", ev).values
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6 * np.abs(want).max())
    raw = RawBlock(ev.final, BLOCKS[0], "loss")
    features = raw.covariance("empirical").train
    assert sum(1 for _ in features) == 2


EXTRAS = ("", ", curvature=true", ", centre=true", ", project=2", ", normalise=row, whiten=1.0")


def test_centring_after_scaling_is_refused():
    rows = Features.of(np.ones((3, 2)))
    block = CovarianceBlock(rows, np.ones((1, 2)))
    with pytest.raises(ValueError, match="centring comes before"):
        block.scaled(np.ones(3), np.ones(1)).centred()
    with pytest.raises(ValueError, match="whitening comes before"):
        block.scaled(np.ones(3), np.ones(1)).whitened(1.0)


def test_self_influence_is_the_diagonal_and_the_same_for_every_query():
    ev = evidence()
    want = 0
    for train, _ in dense(ev.final):
        fisher = train.T @ train / len(train) + damping(NONZERO, train) * np.eye(train.shape[1])
        want = want + np.diag(train @ np.linalg.solve(fisher, train.T))
    close(score("self_influence", ev), np.tile(want, (Q, 1)))


def test_rescaled_influence_is_the_dense_inverse_without_the_row():
    ev = evidence()
    want = 0
    for train, query in dense(ev.final):
        n, p = train.shape
        fisher = train.T @ train / n + damping(NONZERO, train) * np.eye(p)
        columns = [query @ np.linalg.solve(fisher - np.outer(row, row) / n, row) for row in train]
        want = want + np.stack(columns, 1)
    close(score("rescaled_influence", ev), want)


def test_conjugate_gradient_converges_to_the_exact_solution_and_counts_its_steps():
    ev = evidence()
    exact = score("influence", ev)
    close(score("conjugate_gradient(tolerance=1e-10)", ev), exact.values)
    short = score("conjugate_gradient(steps=1)", ev)
    assert short.settings["mean steps"] == 1
    assert short.settings["mean residual"] > 1e-3
    assert not np.allclose(short.values, exact.values, rtol=0.05)


def test_conjugate_gradient_takes_the_steps_of_the_plain_algorithm():
    rng = np.random.default_rng(0)
    diagonal, right = rng.exponential(size=12), rng.normal(size=(3, 12))
    for most in (1, 2, 5):
        found, steps, residual = _solve(diagonal, right, 1e-12, most)
        assert steps.tolist() == [most] * 3
        for i, b in enumerate(right):
            x, r = np.zeros(12), b.copy()
            p = r.copy()
            for _ in range(most):
                alpha = r @ r / (p @ (diagonal * p))
                x = x + alpha * p
                new = r - alpha * diagonal * p
                p = new + (new @ new) / (r @ r) * p
                r = new
            np.testing.assert_allclose(found[i], x, rtol=1e-9)
            assert residual[i] == pytest.approx(np.linalg.norm(r) / np.linalg.norm(b))


@pytest.mark.parametrize("k", [1, 3, 1000])
def test_arnoldi_is_the_inverse_inside_the_leading_directions(k):
    ev = evidence()
    want = 0
    for train, query in dense(ev.final):
        lam = damping(NONZERO, train)
        values, vectors = np.linalg.eigh(train.T @ train / len(train))
        rank = np.linalg.matrix_rank(train)
        keep = np.argsort(values)[::-1][: min(k, rank)]
        inverse = (vectors[:, keep] / (values[keep] + lam)) @ vectors[:, keep].T
        want = want + query @ inverse @ train.T
    close(score(f"arnoldi(k={k})", ev), want)


@pytest.mark.parametrize("steps", [1, 4, 40])
def test_hyperinf_is_schulz_on_the_generalised_fisher(steps):
    ev = evidence()
    want = 0
    for block, (train, query) in zip(BLOCKS, dense(ev.final), strict=True):
        shape = matrix_shape(block)
        t, q = train.reshape(-1, *shape), query.reshape(-1, *shape)
        if shape[0] > shape[1]:
            t, q = t.transpose(0, 2, 1), q.transpose(0, 2, 1)
        _, short, long = t.shape
        phi = sum(m.T @ m for m in t) / len(t) / short
        lam = 0.1 * np.trace(phi) / long
        a = phi + lam * np.eye(long)
        x = np.eye(long) / np.linalg.eigvalsh(a)[-1]
        for _ in range(steps):
            x = x @ (2 * np.eye(long) - a @ x)
        want = want + np.einsum("qrl,lm,nrm->qn", q, x, t)
        if steps == 40:
            np.testing.assert_allclose(x, np.linalg.inv(a), rtol=1e-6)
    got = score(f"hyperinf(steps={steps})", ev)
    close(got, want)
    assert (got.settings["mean residual"] < 1e-9) == (steps == 40)


@pytest.mark.parametrize("name", ["kfac", "ekfac"])
def test_kronecker_methods_are_the_dense_product_of_their_factors(name):
    ev = evidence()
    want = 0
    for block, (train, query) in zip(BLOCKS, dense(ev.final), strict=True):
        factors = ev.final.factors.factors(block.name)
        left, right = np.linalg.eigh(factors.left), np.linalg.eigh(factors.right)
        basis = np.kron(left[1], right[1])
        _, drawn = curved(ev, "true", block)
        if name == "kfac":
            spread = factors.tokens * np.kron(left[0], right[0])
        else:
            spread = np.mean((drawn @ basis) ** 2, axis=0)
        inverse = basis @ np.diag(1 / (spread + 0.1 * spread.mean())) @ basis.T
        want = want + query @ inverse @ train.T
        if name == "kfac":
            whole = factors.tokens * np.kron(factors.left, factors.right)
            np.testing.assert_allclose(basis @ np.diag(spread) @ basis.T, whole, atol=1e-9)
    close(score(name, ev), want)


def test_solvers_and_kronecker_methods_refuse_what_they_cannot_do():
    for spec, told in [
        ("ekfac(project=4)", "takes no project"),
        ("kfac(damping=0)", "above 0"),
        ("ekfac(normalise=block)", "takes no normalise"),
        ("hyperinf(curvature=true)", "takes no curvature"),
        ("hyperinf(rule=mean)", "takes no rule"),
        ("arnoldi(k=0)", "at least 1"),
        ("influence(rule=half)", "mean or nonzero"),
        ("influence(form=primal, scope=whole)", "too long"),
    ]:
        with pytest.raises(SettingError, match=told):
            parse_method(spec)


def test_two_sided_projections_keep_inner_products():
    rng = np.random.default_rng(1)
    block = Block("w", (40, 60))
    values = rng.normal(size=(30, 40, 60)).astype(np.float32)
    flat = values.reshape(30, -1)
    exact = flat @ flat.T
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    errors = {}
    for k in (4, 16, 32, 64):
        left, right = projections(block, k)
        turned = values if left is None else left @ values
        turned = (turned if right is None else turned @ right.T).reshape(30, -1)
        errors[k] = (np.abs(turned @ turned.T - exact) / scale).max()
    assert errors[64] < 1e-6
    # two sides of k each: the standard deviation of a product is about √(2/k + 1/k²) at most
    for k in (4, 16, 32):
        assert errors[k] <= 5 * np.sqrt(2 / k + 1 / k**2)
    assert errors[32] < errors[4]
    again = projections(block, 16)
    np.testing.assert_array_equal(again[0], projections(block, 16)[0])
    assert not np.array_equal(again[0], projections(Block("v", (40, 60)), 16)[0])


def test_logra_is_the_damped_fisher_of_projected_gradients():
    ev = evidence()
    want = 0
    for block in BLOCKS:
        pair = []
        for side in (Side.TRAIN, Side.QUERY):
            values = ev.final.source(side).read(g(block.name))
            values = values.reshape(len(values), *matrix_shape(block))
            left, right = projections(block, 2)
            values = values if left is None else np.einsum("kr,nrc->nkc", left, values)
            values = values if right is None else np.einsum("nrc,kc->nrk", values, right)
            pair.append(values.reshape(len(values), -1).astype(float))
        train, query = pair
        fisher = train.T @ train / len(train)
        fisher += damping(None, train, c=0.1, rule="mean") * np.eye(len(fisher))
        want = want + query @ np.linalg.solve(fisher, train.T)
    close(score("logra(project=2)", ev), want)


def test_a_block_with_other_curvature_keeps_its_identities():
    rng = np.random.default_rng(2)
    train, query, rows = rng.normal(size=(5, 9)), rng.normal(size=(3, 9)), rng.normal(size=(4, 9))
    fisher = rows.T @ rows / 4
    inverse = np.linalg.inv(fisher + 0.3 * np.eye(9))

    def f(s):
        return 1 / (s + 0.3)

    kept = GramBlock.of_rows(train, rows).asked(train, query, rows)
    with pytest.raises(ValueError, match="rows are missing"):
        kept.asked(train, query)
    for block in (
        GramBlock.of(train, query, rows),
        kept,
        CovarianceBlock.of(train, query, rows),
        CovarianceBlock.of(train, query[:0], rows).asked(query),
    ):
        np.testing.assert_allclose(block.filtered(f), query @ inverse @ train.T)
        np.testing.assert_allclose(block.self_filtered(f), np.diag(train @ inverse @ train.T))
        np.testing.assert_allclose(block.query_self_filtered(f), np.diag(query @ inverse @ query.T))
        np.testing.assert_allclose(block.trace, np.trace(fisher))
        inside, outside = block.query_energy()
        np.testing.assert_allclose(inside.sum(1) + outside, (query**2).sum(1))
        white = block.whitened(0.3)
        np.testing.assert_allclose(white.cross, query @ inverse @ train.T)
        np.testing.assert_allclose(white.train_norms, np.diag(train @ inverse @ train.T))
        np.testing.assert_allclose(white.query_norms, np.diag(query @ inverse @ query.T))


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_other_queries_share_the_decomposition_and_nothing_else(form):
    ev = evidence()
    together = score_all(
        [parse_method(f"{name}(form={form})") for name in ("influence", "contrastive")], ev
    ).scores
    for found in together:
        alone = score(found.method, ev).values
        np.testing.assert_allclose(found.values, alone, rtol=1e-6, atol=1e-7 * np.abs(alone).max())
    assert not np.allclose(together[0].values, together[1].values)
