"""Exact curvature against finite differences, an explicit Jacobian, drawn labels and dense inverses."""

import numpy as np
import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tiny import save_tiny, tiny_rows
from wherefrom.capture import Pass
from wherefrom.counterfactual import ExactCurvature, compare_curvatures
from wherefrom.counterfactual import _curvature_comparison as comparison
from wherefrom.curvature import GramBlock
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import DataError, SettingError
from wherefrom.models import (
    FinetuneSettings,
    counted_losses,
    pad_rows,
    prepare,
    put_state,
    trained_state,
)
from wherefrom.signals import Kind, Need, gradient_name

TRAIN, QUERIES = 5, 3
REDUCTIONS = ("mean", "sum")


@pytest.fixture(scope="module", autouse=True)
def double_norms():
    """Norms that keep float64, so that finite differences are not drowned in rounding."""

    def forward(self, x):
        return (
            x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon) * self.weight
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LlamaRMSNorm, "forward", forward)
        yield


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """A model whose adapter has moved, training rows, queries."""
    base = save_tiny(tmp_path_factory.mktemp("curvature") / "llama", "llama")
    chosen = FinetuneSettings(rank=1, targets=("v_proj",), dropout=0.0, precision="float32")
    prepared = prepare(str(base), chosen)
    generator = torch.Generator().manual_seed(0)
    state = trained_state(prepared.model)
    moved = {n: t + 0.2 * torch.randn(t.shape, generator=generator) for n, t in state.items()}
    put_state(prepared.model, moved)
    rows = Renderer(prepared.tokenizer, get_recipe("sound-1")).render_all(
        tiny_rows(TRAIN + QUERIES)
    )
    return prepared, rows[:TRAIN], rows[TRAIN:]


@pytest.fixture(scope="module")
def both(job):
    """One for each reduction, so that its matrices are made once."""
    prepared, train, _ = job
    return {one: ExactCurvature.of(prepared, train, one) for one in REDUCTIONS}


@pytest.fixture(scope="module")
def mean(both):
    return both["mean"]


@pytest.fixture(params=REDUCTIONS)
def exact(request, both):
    return both[request.param]


@pytest.fixture(scope="module")
def captured(job):
    """What the pass reads off a model in float64: rows × entries of training rows and queries."""
    prepared, train, queries = job
    found = {}
    prepared.model.double()
    for reduction in REDUCTIONS:
        runner = Pass(
            prepared.model, frozenset({Need(Kind.GRADIENT)}), reduction=reduction, pad_id=0
        )
        arrays = runner.run([*train, *queries])
        names = [gradient_name(block.name) for block in runner.blocks]
        blocks = [arrays[name].reshape(TRAIN + QUERIES, -1) for name in names]
        found[reduction] = [block.astype(float) for block in blocks]
    prepared.model.float()
    return found


@pytest.fixture(scope="module")
def jacobian(mean):
    """∂ logits / ∂ weights at counted tokens, by central differences: tokens × vocabulary × p a row."""
    exact, train, h = mean, mean.rows, 1e-5

    def logits(vector):
        with torch.no_grad():
            return [exact.model.losses(vector, [row]).logits[0] for row in train]

    columns = []
    for unit in torch.eye(exact.size, dtype=torch.float64):
        up, down = logits(exact.weights + h * unit), logits(exact.weights - h * unit)
        columns.append([(a - b) / (2 * h) for a, b in zip(up, down, strict=True)])
    return logits(exact.weights), [
        torch.stack([column[i] for column in columns], -1) for i in range(len(train))
    ]


def near(got, want, tolerance):
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()


def test_row_gradients_are_those_that_the_pass_captures(exact, captured):
    want = np.concatenate(captured[exact.reduction], 1)
    near(exact.gradients, want[:TRAIN], 1e-6)


def test_the_empirical_fisher_is_that_of_the_captured_gradients(exact, captured):
    g = np.concatenate(captured[exact.reduction], 1)[:TRAIN]
    near(exact.dense("empirical"), g.T @ g / TRAIN, 2e-6)


def test_the_hessian_is_the_derivative_of_the_gradient(exact):
    h = 1e-5
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(exact.size, 3))
    got = exact.product("hessian", vectors)
    for column, vector in enumerate(vectors.T):
        step = torch.from_numpy(h * vector)
        ends = []
        for sign in (1, -1):
            moved = ExactCurvature(
                exact.model, exact.weights + sign * step, exact.rows, exact.reduction
            )
            ends.append(moved.gradients.mean(0))
        near(got[:, column], (ends[0] - ends[1]) / (2 * h), 1e-6)


def test_the_gauss_newton_matrix_is_jacobian_output_hessian_jacobian(exact, jacobian):
    want = 0
    for logits, j in zip(*jacobian, strict=True):
        p = torch.softmax(logits, -1)
        weight = 1 / len(p) if exact.reduction == "mean" else 1.0
        for pt, jt in zip(p, j, strict=True):
            want = want + weight * jt.T @ (torch.diag(pt) - torch.outer(pt, pt)) @ jt / TRAIN
    near(exact.dense("gauss-newton"), want.numpy(), 1e-6)


def test_the_fisher_of_drawn_labels_tends_to_the_gauss_newton_matrix(exact, jacobian):
    rng = np.random.default_rng(0)
    draws, fisher = 20_000, 0
    for logits, j in zip(*jacobian, strict=True):
        p = torch.softmax(logits, -1).numpy()
        j = j.numpy()
        total = np.zeros((draws, exact.size))
        for pt, jt in zip(p, j, strict=True):
            labels = rng.choice(len(pt), size=draws, p=pt / pt.sum())
            # the gradient of −log p_y by the logits is p − e_y
            total += pt @ jt - jt[labels]
        weight = 1 / len(p) if exact.reduction == "mean" else 1.0
        fisher = fisher + weight * total.T @ total / draws / TRAIN
    want = exact.dense("gauss-newton")
    assert np.linalg.norm(fisher - want) <= 0.04 * np.linalg.norm(want)
    # and the data's own labels give another matrix
    assert np.linalg.norm(exact.dense("empirical") - want) > 0.2 * np.linalg.norm(want)


@pytest.mark.parametrize("kind", ["hessian", "gauss-newton"])
def test_batches_change_nothing(exact, kind):
    vector = np.random.default_rng(1).normal(size=exact.size)
    alone = ExactCurvature(
        exact.model, exact.weights, exact.rows[::-1], exact.reduction, batch_tokens=1
    )
    near(alone.product(kind, vector), exact.product(kind, vector), 1e-10)
    near(exact.product(kind, vector), exact.dense(kind) @ vector, 1e-8)


def test_lanczos_finds_the_ends_of_the_spectrum(exact):
    sigma = np.linalg.eigvalsh(exact.dense("hessian"))
    assert sigma[0] < 0
    near(exact.extreme_eigenvalues("hessian", 3), sigma[::-1][:3], 1e-5)
    near(exact.extreme_eigenvalues("hessian", 2, least=True), sigma[:2], 1e-4)


def test_hutchinsons_estimate_is_within_its_error_of_the_trace(exact):
    value, error = exact.trace("gauss-newton", draws=64)
    want = np.trace(exact.dense("gauss-newton"))
    assert 0 < error < 0.5 * want
    assert abs(value - want) <= 4 * error


@pytest.mark.parametrize("rule", ["mean", "nonzero"])
@pytest.mark.parametrize("scope", ["block", "whole"])
def test_influence_with_each_curvature_is_its_dense_inverse(job, mean, rule, scope):
    exact, queries = mean, job[2]
    q, g = exact.row_gradients(queries), exact.gradients
    found = compare_curvatures(exact, queries, rule=rule, strength=0.5, scope=scope, k=2)
    sizes = exact.model.sizes if scope == "block" else [exact.size]
    for kind in ("gauss-newton", "empirical", "hessian"):
        want, start = 0, 0
        for size in sizes:
            part = slice(start, start + size)
            start += size
            c = exact.dense(kind)[part, part]
            trace = np.abs(np.linalg.eigvalsh(c)).sum()
            lam = 0.5 * trace / (size if rule == "mean" else min(size, TRAIN))
            want = want + q[:, part] @ np.linalg.solve(c + lam * np.eye(size), g[:, part].T)
        near(found.scores[kind].values, want, 1e-5)
    near(found.scores["hessian-free"].values, q @ g.T, 1e-6)


def test_with_the_empirical_fisher_it_is_the_influence_that_the_signals_give(job, mean, captured):
    want = 0
    for block in captured["mean"]:
        gram = GramBlock.of(block[:TRAIN], block[TRAIN:])
        lam = gram.damping("nonzero", 1.0)
        want = want + gram.filtered(lambda s, lam=lam: 1 / (s + lam))
    found = compare_curvatures(mean, job[2], k=2)
    near(found.scores["empirical"].values, want, 1e-5)
    assert found.spearman.loc["empirical", "empirical"] == pytest.approx(1.0)


def test_a_loss_that_bends_down_somewhere_is_told(job, mean):
    exact, queries = mean, job[2]
    found = compare_curvatures(exact, queries, scope="whole", strength=1e-9, k=2)
    sigma = np.linalg.eigvalsh(exact.dense("hessian"))
    share = -sigma[sigma < 0].sum() / np.abs(sigma).sum()
    assert found.negative == pytest.approx(share)
    assert share > 0
    assert found.indefinite == 1.0
    # with damping above its deepest bend nothing is indefinite
    high = compare_curvatures(exact, queries, scope="whole", strength=1e3, k=2)
    assert high.indefinite == 0.0
    np.testing.assert_allclose(high.spearman.loc["hessian-free"].to_numpy(), np.ones(5), atol=1e-9)


def test_matrices_of_large_models_are_refused(job, monkeypatch):
    prepared, train, queries = job
    monkeypatch.setattr(comparison, "LARGEST", 10)
    with pytest.raises(SettingError, match="too many"):
        compare_curvatures(ExactCurvature.of(prepared, train), queries)


def test_a_row_that_counts_nothing_is_refused(job):
    prepared, train, _ = job
    bare = type(train[0])(
        "bare",
        train[0].ids,
        train[0].attention,
        np.zeros_like(train[0].loss_mask),
        train[0].response_mask,
        train[0].prompt_end,
    )
    with pytest.raises(DataError, match="'bare'"):
        ExactCurvature.of(prepared, [*train, bare])


def test_the_loss_is_the_one_that_training_sees(job, mean):
    """The mean over rows of the mean over counted tokens, by the model's own forward."""
    prepared, train, _ = job
    with torch.no_grad():
        mine = mean._row_losses(mean.model.losses(mean.weights, train))
        rows = [counted_losses(prepared.model, **pad_rows([r], prepared.pad_id)) for r in train]
    want = [float(r.losses.sum() / r.counted.sum()) for r in rows]
    np.testing.assert_allclose(mine.numpy(), want, rtol=1e-5)
