"""Methods along the training run, with optimizer moments, margins and draws: plain transcriptions."""

import numpy as np
import pytest
from scipy.linalg import expm, sqrtm

from drawn import BLOCKS, NONZERO, close, damping, dense, evidence, score
from wherefrom.curvature import FactorSums
from wherefrom.errors import SettingError
from wherefrom.methods import parse_method
from wherefrom.methods._features import matrix_shape, projections
from wherefrom.signals import LOSS, TOKEN_LOSS, TOKENS, Side
from wherefrom.signals import gradient_name as g


def flat(ev_point, side, block, target="loss"):
    values = ev_point.source(side).read(g(block.name, target))
    return values.reshape(len(values), -1).astype(float)


def whole_dot(point, target="loss"):
    ((train, query),) = dense(point, "whole", target)
    return query @ train.T


def test_tracin_adds_up_checkpoints_with_their_learning_rates():
    ev = evidence()
    want = sum(point.rate * point.steps * whole_dot(point) for point in ev.checkpoints)
    got = score("tracin", ev)
    close(got, want)
    assert got.settings["states"] == ["step-000004", "final"]
    spent = sum(point.rate * point.steps for point in ev.checkpoints)
    close(score("gradient_dot(checkpoints=rate)", ev), want / spent)
    mean = sum(whole_dot(point) for point in ev.checkpoints) / 2
    close(score("gradient_dot(checkpoints=mean)", ev), mean)


def test_influence_along_is_the_mean_of_influence_with_the_true_fisher():
    ev, want = evidence(), 0
    for point in ev.checkpoints:
        for block in BLOCKS:
            train, query = flat(point, Side.TRAIN, block), flat(point, Side.QUERY, block)
            drawn = flat(point, Side.TRAIN, block, "sampled")
            fisher = drawn.T @ drawn / len(drawn)
            lam = 3 * np.trace(fisher) / len(fisher)
            solved = np.linalg.solve(fisher + lam * np.eye(len(fisher)), train.T)
            want = want + point.rate * point.steps * (query @ solved)
    close(score("influence_along", ev), want / sum(p.rate * p.steps for p in ev.checkpoints))


def test_dda_takes_the_base_models_score_off_the_mean():
    ev = evidence()
    mean = sum(whole_dot(point) for point in ev.checkpoints) / 2
    close(score("dda", ev), mean - whole_dot(ev.base))
    close(score("gradient_dot(minus_base=true)", ev), whole_dot(ev.final) - whole_dot(ev.base))


def test_contrastive_is_influence_of_the_difference_of_two_answers():
    ev = evidence()
    want = 0
    for block in BLOCKS:
        train, query = flat(ev.final, Side.TRAIN, block), flat(ev.final, Side.QUERY, block)
        query = query - flat(ev.final, Side.REFERENCE, block)
        fisher = train.T @ train / len(train) + damping(NONZERO, train) * np.eye(train.shape[1])
        want = want + query @ np.linalg.solve(fisher, train.T)
    close(score("contrastive", ev), want)
    close(score("influence(reference=true)", ev), want)


@pytest.mark.parametrize("momentum", [True, False])
def test_less_is_the_cosine_of_the_rows_adam_step(momentum):
    ev = evidence()
    want = 0
    for point in ev.checkpoints:
        steps, queries = [], []
        for block in BLOCKS:
            m, v = (
                a.ravel()
                for a in (point.moments[block.name].first, point.moments[block.name].second)
            )
            gradients = flat(point, Side.TRAIN, block)
            rows = []
            for gradient in gradients:
                first = (0.9 * m if momentum else 0) + 0.1 * gradient
                rows.append(first / np.sqrt(0.999 * v + 0.001 * gradient**2 + 1e-8))
            steps.append(np.array(rows))
            queries.append(flat(point, Side.QUERY, block))
        a, b = np.concatenate(steps, 1), np.concatenate(queries, 1)
        norms = np.outer(np.linalg.norm(b, axis=1), np.linalg.norm(a, axis=1))
        want = want + point.rate * point.steps * (b @ a.T) / norms
    want = want / sum(point.rate * point.steps for point in ev.checkpoints)
    close(score(f"less(momentum={momentum})".lower(), ev), want)


@pytest.mark.parametrize("mix", [0.0, 0.25])
def test_trackstar_whitens_both_sides_and_takes_the_cosine(mix):
    ev = evidence()
    left_parts, right_parts = [], []
    for block in BLOCKS:
        root = np.sqrt(ev.final.moments[block.name].second).ravel()
        root = root + max(1e-8, 1e-3 * np.sqrt((root**2).mean()))
        sides = []
        for side in (Side.TRAIN, Side.QUERY):
            values = flat(ev.final, side, block) / root
            matrices = values.reshape(len(values), *matrix_shape(block))
            left, right = projections(block, 2)
            matrices = matrices if left is None else left @ matrices
            matrices = matrices if right is None else matrices @ right.T
            sides.append(matrices.reshape(len(values), -1))
        train, query = sides
        second = (1 - mix) * train.T @ train / len(train) + mix * query.T @ query / len(query)
        second = second + 0.1 * np.trace(second) / len(second) * np.eye(len(second))
        white = np.linalg.inv(np.real(sqrtm(second)))
        left_parts.append(train @ white)
        right_parts.append(query @ white)
    a, b = np.concatenate(left_parts, 1), np.concatenate(right_parts, 1)
    want = (b @ a.T) / np.outer(np.linalg.norm(b, axis=1), np.linalg.norm(a, axis=1))
    close(score(f"trackstar(dimension=2, mix={mix})", ev), want)


def test_trak_is_its_linear_model_averaged_over_checkpoints():
    ev = evidence()
    products, unsure = [], []
    for point in ev.checkpoints:
        phi, query = 0, 0
        for block in BLOCKS:
            rng = np.random.default_rng([0, *block.name.encode("utf-8")])
            signs = rng.integers(0, 2, (block.size, 6), dtype=np.int8)
            matrix = (signs * 2.0 - 1) / np.sqrt(6)
            phi = phi + flat(point, Side.TRAIN, block, "margin") @ matrix
            query = query + flat(point, Side.QUERY, block, "margin") @ matrix
        gram = phi.T @ phi
        products.append(query @ np.linalg.inv(gram + 0.1 * np.trace(gram) / 6 * np.eye(6)) @ phi.T)
        source = point.source(Side.TRAIN)
        rows = zip(source.read(TOKEN_LOSS), source.read(TOKENS), strict=True)
        unsure.append([1 - np.exp(-losses[:count]).mean() for losses, count in rows])
    want = np.mean(products, axis=0) * np.mean(unsure, axis=0)
    close(score("trak(dimension=6)", ev), want, 1e-4)


def test_traks_products_are_those_without_a_projection_in_many_dimensions():
    ev = evidence()
    rough = score("trak(dimension=20000, checkpoints=final)", ev).values
    ((train, query),) = dense(ev.final, "whole", "margin")
    # with k far above n, φᵀ(ΦᵀΦ + λ)⁻¹φ is C(K + λ)⁻¹ row by row
    gram = train @ train.T
    lam = 0.1 * np.trace(gram) / len(train)
    exact = query @ train.T @ np.linalg.inv(gram + lam * np.eye(len(train)))
    source = ev.final.source(Side.TRAIN)
    rows = zip(source.read(TOKEN_LOSS), source.read(TOKENS), strict=True)
    exact = exact * [1 - np.exp(-losses[:count]).mean() for losses, count in rows]
    assert np.corrcoef(rough.ravel(), exact.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("segments", [1, 2])
def test_source_unrolls_segments_with_matrix_exponentials(segments):
    ev = evidence()
    cut = [ev.checkpoints] if segments == 1 else [[p] for p in ev.checkpoints]
    want = 0
    for block in BLOCKS:
        left = flat(ev.final, Side.QUERY, block)
        for points in reversed(cut):
            merged = FactorSums()
            for point in points:
                merged.merge(point.factors)
            factors = merged.factors(block.name)
            basis = np.kron(np.linalg.eigh(factors.left)[1], np.linalg.eigh(factors.right)[1])
            spread = np.mean(
                [(flat(p, Side.TRAIN, block, "sampled") @ basis) ** 2 for p in points], axis=(0, 1)
            )
            curve = basis @ np.diag(spread) @ basis.T
            reach = sum(p.rate * p.steps for p in points)
            decay = expm(-reach * curve)
            gain = np.linalg.solve(curve, np.eye(len(curve)) - decay)
            mean = np.mean([flat(p, Side.TRAIN, block) for p in points], axis=0)
            want = want + left @ gain @ mean.T
            left = left @ decay
    close(score(f"source(segments={segments})", ev), want)


def test_source_of_a_flat_loss_is_tracin():
    ev = evidence()
    for point in ev.checkpoints:
        for block in BLOCKS:
            point.source(Side.TRAIN).read(g(block.name, "sampled"))[:] = 0
    last, first = dense(ev.final), dense(ev.checkpoints[0])
    want = 0
    for (_, query), (train, _) in zip(last, first, strict=True):
        want = want + 0.002 * 4 * query @ train.T
    for train, query in last:
        want = want + 0.001 * 4 * query @ train.T
    close(score("source", ev), want)


def test_bayesian_influence_is_the_covariance_of_losses_over_draws():
    ev = evidence()

    def losses(side):
        sources = [point.source(side) for point in ev.draws]
        return np.array([s.read(LOSS) / s.read(TOKENS) for s in sources])

    train, query = losses(Side.TRAIN), losses(Side.QUERY)
    want = np.array([[np.cov(q, t)[0, 1] for t in train.T] for q in query.T])
    close(score("bayesian", ev), want)
    want = np.array([[np.corrcoef(q, t)[0, 1] for t in train.T] for q in query.T])
    close(score("bayesian(correlation=true)", ev), want)


def test_settings_that_mean_nothing_are_refused():
    for spec, told in [
        ("less(project=4)", "takes no project"),
        ("less(beta1=1.5)", "beta1"),
        ("trackstar(mix=1)", "mix"),
        ("trackstar(project=3)", "dimension"),
        ("trak(tokens=all)", "takes no tokens"),
        ("trak(dimension=0)", "dimension"),
        ("source(segments=0)", "segments"),
    ]:
        with pytest.raises(SettingError, match=told):
            parse_method(spec)
