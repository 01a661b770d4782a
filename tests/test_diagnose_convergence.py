"""Mechanism 2 on states made by hand: what is stable, what turned, and what the numbers are."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from tiny import tiny_rows
from wherefrom.data import get_recipe
from wherefrom.diagnose import NotMeasured, Stage, Subject
from wherefrom.diagnose._convergence import convergence
from wherefrom.diagnose._full_gradient import full_gradients
from wherefrom.diagnose._likeness import Likeness
from wherefrom.diagnose._seeds import seeds
from wherefrom.methods import Point
from wherefrom.scores import Scores
from wherefrom.signals import Block, MemorySignals, Side, SignalArray, gradient_name

N, Q, K = 12, 4, 3
ROWS = tiny_rows(N + Q)
BLOCKS = (
    Block("model.layers.0.lora_A.weight", (2, 3)),
    Block("model.layers.0.lora_B.weight", (5,)),
)
STAGES = ("base", "step-000002", "step-000004", "final")


def source(ids, gradients, chunks=1):
    arrays = [SignalArray(gradient_name(b.name), b.shape) for b in BLOCKS]
    order = np.random.default_rng(1).permutation(len(ids))
    sizes = [len(part) for part in np.array_split(order, chunks)]
    held = MemorySignals(ids, BLOCKS, arrays, order, sizes, {})
    for block, values in zip(BLOCKS, gradients, strict=True):
        held.read(gradient_name(block.name))[:] = values.reshape(len(ids), *block.shape)
    return held


def draw(seed, rows):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rows, block.size)) for block in BLOCKS]


def weights(seed):
    rng = np.random.default_rng(seed)
    return {f"base_model.model.{b.name}": rng.normal(size=b.shape) for b in BLOCKS}


def stage(name, train, query, held=None, step=None, chunks=1):
    ids = [tuple(row.id for row in rows) for rows in (ROWS[:N], ROWS[N:])]
    sides = {Side.TRAIN: source(ids[0], train, chunks), Side.QUERY: source(ids[1], query)}
    return Stage(name, step, held or {}, Point(name, sides))


def subject(stages, method="gradient_dot", scaling=None, rows=ROWS, k=K, **more):
    recipe = get_recipe("sound-1")
    return Subject(
        rows[:N], rows[N:], [], [], recipe, method, k, stages, None, scaling=scaling, **more
    )


def drawn_stages():
    return [
        stage(name, draw(10 + i, N), draw(20 + i, Q), weights(i), step=2 * i)
        for i, name in enumerate(STAGES)
    ]


def flat(one, side=Side.TRAIN):
    held = [one.point.sources[side].read(gradient_name(b.name)) for b in BLOCKS]
    return np.hstack(
        [values.reshape(-1, b.size) for b, values in zip(BLOCKS, held, strict=True)]
    ).astype(float)


def scores(values, method="gradient_dot"):
    ids = [tuple(row.id for row in rows) for rows in (ROWS[:N], ROWS[N:])]
    return Scores(np.asarray(values, dtype=np.float32), ids[1], ids[0], method)


def test_full_gradients_are_those_of_all_rows_in_one_matrix():
    stages = drawn_stages()
    split = [stage(s.name, [flat(s)[:, :6], flat(s)[:, 6:]], draw(0, Q), chunks=3) for s in stages]
    held = [{b.name: s.weights[f"base_model.model.{b.name}"] for b in BLOCKS} for s in stages]
    found = full_gradients([s.point.source(Side.TRAIN) for s in split], held)
    tables = [flat(s) for s in stages]
    means = np.stack([table.mean(axis=0) for table in tables])
    np.testing.assert_allclose(found.products, means @ means.T, rtol=1e-6)
    np.testing.assert_allclose(
        found.row_norms, [np.linalg.norm(t, axis=1) for t in tables], rtol=1e-6
    )
    size = np.linalg.norm(means, axis=1)
    rms = [np.sqrt((t**2).sum(axis=1).mean()) for t in tables]
    np.testing.assert_allclose(found.coherence, size / rms, rtol=1e-6)
    assert found.cosine(0, 2) == pytest.approx(means[0] @ means[2] / size[0] / size[2], rel=1e-6)
    places = np.stack([np.hstack([h[b.name].ravel() for b in BLOCKS]) for h in held])
    ways = places[-1] - places[:-1]
    want = -(means[:-1] * ways).sum(axis=1) / size[:-1] / np.linalg.norm(ways, axis=1)
    np.testing.assert_allclose(found.onward[:-1], want, rtol=1e-6)
    assert np.isnan(found.onward[-1])


def test_coherence_is_0_at_a_minimum_1_for_like_rows_and_1_over_root_n_for_unrelated_ones():
    ids = tuple(row.id for row in ROWS[:N])
    signs = np.array([1.0, -1.0] * (N // 2))[:, None]
    row = [np.ones((N, b.size)) for b in BLOCKS]
    cancelling = source(ids, [signs * values for values in row])
    alike = source(ids, row)
    apart = source(ids, [np.eye(N)[:, :6], np.eye(N)[:, 6:11]])
    found = full_gradients([cancelling, alike, apart])
    # one of the twelve rows points nowhere here, which changes neither side of the ratio
    np.testing.assert_allclose(found.coherence, [0, 1, N**-0.5], atol=1e-7)
    assert np.isnan(found.cosine(0, 1))


def test_every_stage_is_held_against_the_final_ranking():
    stages = drawn_stages()
    found = convergence(subject(stages))
    tables = [flat(s, Side.QUERY) @ flat(s).T for s in stages]
    along = found.values["methods"]["gradient_dot"]
    want = [
        np.mean([spearmanr(a, b)[0] for a, b in zip(t, tables[-1], strict=True)]) for t in tables
    ]
    np.testing.assert_allclose(along["spearman"], want, atol=1e-3)
    tops = [np.argsort(-t, axis=1)[:, :K] for t in tables]
    overlap = [
        np.mean([len({*a} & {*b}) / K for a, b in zip(top, tops[-1], strict=True)]) for top in tops
    ]
    np.testing.assert_allclose(along["overlap"], overlap, atol=1e-3)
    np.testing.assert_allclose(along["kept"], (np.array(overlap) - K / N) / (1 - K / N), atol=1e-3)
    labels, wanted = ([r.label for r in rows] for rows in (ROWS[:N], ROWS[N:]))
    right = [
        np.mean([labels[t] == w for t, w in zip(np.argmax(table, axis=1), wanted, strict=True)])
        for table in tables
    ]
    np.testing.assert_allclose(along["accuracy"], right, atol=1e-3)
    assert along["rbo"][-1] == 1 > along["rbo"][0]
    assert found.values["steps"] == [0, 2, 4, 6]
    json.dumps(found.values, allow_nan=False)


def test_angles_are_those_between_full_gradients_and_leave_loras_base_out():
    stages = drawn_stages()
    means = [flat(s).mean(axis=0) for s in stages]

    def degrees(a, b):
        cosine = means[a] @ means[b] / np.linalg.norm(means[a]) / np.linalg.norm(means[b])
        return np.degrees(np.arccos(cosine))

    full = convergence(subject(stages)).values
    assert full["degrees_to_previous"][0] is None
    np.testing.assert_allclose(
        full["degrees_to_previous"][1:], [degrees(i - 1, i) for i in (1, 2, 3)], rtol=1e-3
    )
    lora = convergence(subject(stages, scaling=2.0)).values
    assert lora["degrees_to_previous"][:2] == [None, None]
    assert lora["cosine_to_final"][0] is None
    assert lora["degrees_to_previous"][2:] == full["degrees_to_previous"][2:]
    np.testing.assert_allclose(full["gradient_norm"], np.linalg.norm(means, axis=1), rtol=1e-3)


def test_answers_that_hold_still_are_good_and_those_that_turn_are_warned_of():
    train, query = draw(0, N), draw(1, Q)
    wild = stage("base", draw(2, N), draw(3, Q), step=0)
    steady = [
        stage(name, [g * size for g in train], query, step=step)
        for step, (name, size) in enumerate([("step-000001", 3.0), ("final", 1.0)])
    ]
    found = convergence(subject([wild, *steady]))
    assert found.level == "good"
    assert "those at step-000001 share 100% of the top rows" in found.measured
    turned = [wild, stage("step-000001", train, [-g for g in query], step=1), steady[-1]]
    found = convergence(subject(turned))
    assert (found.level, found.bad) == ("warning", True)
    assert (
        "those at step-000001 share 0% of the top rows (rank correlation -1.00)" in found.measured
    )
    assert "tracin" in found.advice


def test_how_often_training_was_saved_does_not_choose_what_the_end_is_held_against():
    train, query = draw(0, N), draw(1, Q)
    early = stage("step-000019", train, [-g for g in query], step=19)
    late = [stage(f"step-0000{step}", train, query, step=step) for step in (22, 25, 29)]
    end = stage("final", train, query, step=30)
    for kept in ([early], [early, *late], [early, late[-1]]):
        assert convergence(subject([*kept, end])).level == "warning"
    assert convergence(subject([*late, end])).level == "good"


def test_where_every_row_is_a_top_row_the_whole_ranking_decides():
    train, query = draw(0, N), draw(1, Q)
    turned = [
        stage("step-000001", train, [-g for g in query]),
        stage("final", train, query),
    ]
    assert convergence(subject(turned, k=100)).level == "warning"
    assert convergence(subject([turned[1], turned[1]], k=100)).level == "good"


def test_without_labels_there_is_no_accuracy():
    bare = [type(row)(row.id, row.messages) for row in ROWS]
    found = convergence(subject(drawn_stages(), rows=bare))
    assert found.values["methods"]["gradient_dot"]["accuracy"] == [None] * 4
    assert "label" not in found.measured


def test_the_checked_method_leads_and_the_dot_product_stands_beside_it():
    found = convergence(subject(drawn_stages(), method="influence"))
    assert list(found.values["methods"]) == ["influence", "gradient_dot"]
    one = found.values["methods"]["influence"]["spearman"][-2]
    assert f"(rank correlation {one:.2f})" in found.measured
    # words do not change along training, so they would look stable
    assert list(convergence(subject(drawn_stages(), method="bm25")).values["methods"]) == [
        "gradient_dot"
    ]


def test_the_base_alone_says_nothing_of_where_training_ended():
    stages = drawn_stages()
    found = convergence(subject([stages[0], stages[-1]]))
    assert found.level == "unknown"
    with pytest.raises(NotMeasured, match="one state of the model before the last"):
        convergence(subject(stages[-1:]))


def test_likeness_beyond_chance_is_0_for_unrelated_rankings():
    rng = np.random.default_rng(0)
    found = [
        Likeness.of(scores(rng.normal(size=(Q, N))), scores(rng.normal(size=(Q, N))), K).kept
        for _ in range(200)
    ]
    assert abs(np.mean(found)) < 0.03
    same = scores(rng.normal(size=(Q, N)))
    assert Likeness.of(same, same, K).kept == 1


def test_seeds_that_agree_are_good_and_those_that_do_not_are_warned_of():
    stages = drawn_stages()
    own = subject(stages).scores("gradient_dot").values
    rng = np.random.default_rng(4)
    near = [scores(own + rng.normal(scale=0.01, size=own.shape)) for _ in range(2)]
    found = seeds(subject(stages, seeds={"gradient_dot": near}))
    assert found.level == "good"
    assert found.measured.startswith("2 fine-tunes under other seeds share ")
    far = [scores(-own), scores(rng.normal(size=own.shape))]
    found = seeds(subject(stages, seeds={"gradient_dot": far}))
    assert found.level == "warning"
    assert found.values["spearman"][0] == -1
    assert found.values["overlap"][0] == 0
    want = np.mean([spearmanr(a, b)[0] for a, b in zip(own, far[1].values, strict=True)])
    assert found.values["spearman"][1] == pytest.approx(want, abs=1e-3)


def test_no_other_seeds_is_not_measured():
    with pytest.raises(NotMeasured, match="no fine-tunes under other seeds"):
        seeds(subject(drawn_stages()))
    with pytest.raises(NotMeasured, match="no fine-tunes under other seeds"):
        seeds(subject(drawn_stages(), seeds={"influence": [scores(np.ones((Q, N)))]}))
