"""Mechanism 3: movement against dense matrices, and findings on courses made by hand."""

import json

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from tiny import tiny_rows
from wherefrom.data import get_recipe
from wherefrom.diagnose import NotMeasured, Stage, Subject
from wherefrom.diagnose._behaviour import behaviour
from wherefrom.diagnose._movement import Change, changes, effective_rank, layer_norms
from wherefrom.methods import Point

ROWS = tiny_rows(8)
Q_PROJ, V_PROJ = (f"base_model.model.model.layers.{i}.self_attn.x_proj" for i in (0, 10))
NAMES = ("base", "step-000002", "step-000004", "final")


def adapter(seed, b=1.0, rank=2):
    """LoRA factors of two layers; B is 0 where b is."""
    rng = np.random.default_rng(seed)
    return {
        f"{place}.{part}.weight": rng.normal(size=shape) * (b if part == "lora_B" else 1)
        for place, (rows, columns) in ((Q_PROJ, (7, 5)), (V_PROJ, (3, 9)))
        for part, shape in (("lora_A", (rank, columns)), ("lora_B", (rows, rank)))
    }


def dense(held, place):
    return held[f"{place}.lora_B.weight"] @ held[f"{place}.lora_A.weight"]


class Told:
    """A probe that says what it is given, stage by stage."""

    def __init__(self, kl, log_p, share):
        self.curves = kl, log_p, share

    def _said(self, curve, stage):
        if self.curves[curve] is None:
            raise NotMeasured("nobody knows")
        return self.curves[curve][stage]

    def divergence(self, stage):
        return self._said(0, stage) + np.array([-0.1, 0.1])

    def log_probabilities(self, rows, stage, template=None):
        return self._said(1, stage) + np.array([-1.0, 0.0, 1.0])

    def behaviour(self, stage):
        return None if self.curves[2] is None else self._said(2, stage)


def told(kl, log_p, share=None, names=NAMES):
    return Told(
        *(None if c is None else dict(zip(names, c, strict=True)) for c in (kl, log_p, share))
    )


def subject(weights, probe, scaling=2.0, names=NAMES, queries=ROWS[6:]):
    stages = [
        Stage(name, 2 * i, held, Point(name, {}))
        for i, (name, held) in enumerate(zip(names, weights, strict=True))
    ]
    recipe = get_recipe("sound-1")
    return Subject(ROWS[:6], queries, [], [], recipe, "influence", 3, stages, probe, scaling)


def growing(sizes=(1.0, 2.0, 3.0)):
    last = adapter(1)
    return [
        adapter(0, b=0.0),
        *({n: v * (s if "lora_B" in n else 1) for n, v in last.items()} for s in sizes),
    ]


@pytest.mark.parametrize("rank", [2, 6])
def test_an_adapters_change_is_that_of_the_whole_matrix(rank):
    base, now = adapter(0, rank=rank), adapter(1, rank=rank)
    found = changes(base, now, 0.5)
    alone = changes(None, now, 0.5)
    assert found.keys() == {Q_PROJ, V_PROJ} == alone.keys()
    for place in found:
        for one, want in (
            (found[place], 0.5 * (dense(now, place) - dense(base, place))),
            (alone[place], 0.5 * dense(now, place)),
        ):
            assert one.norm == pytest.approx(np.linalg.norm(want), rel=1e-9)
            values = np.linalg.svd(want, compute_uv=False)
            seen = one.singular_values()
            count = min(len(values), len(seen))
            np.testing.assert_allclose(seen[:count], values[:count], atol=1e-9)
            np.testing.assert_allclose(seen[count:], 0, atol=1e-9)


def test_a_full_fine_tunes_change_is_the_difference():
    rng = np.random.default_rng(0)
    shapes = {"model.layers.0.w": (140, 150), "model.embed.w": (150, 140), "model.layers.0.b": (6,)}
    base = {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    now = {n: v + rng.normal(size=v.shape).astype(np.float32) for n, v in base.items()}
    found = changes(base, now, None)
    for name, one in found.items():
        apart = now[name].astype(float) - base[name]
        assert one.norm == pytest.approx(np.linalg.norm(apart), rel=1e-9)
        want = np.linalg.svd(np.atleast_2d(apart), compute_uv=False)
        np.testing.assert_allclose(one.singular_values(), want, atol=1e-5)
    norms = layer_norms(found)
    assert list(norms) == ["0", "elsewhere"]
    together = found["model.layers.0.w"].norm ** 2 + found["model.layers.0.b"].norm ** 2
    assert norms["0"] == pytest.approx(np.sqrt(together))
    assert changes(None, now, None) == {}


def test_other_weights_beside_an_adapter_count_where_their_base_is_known():
    base = adapter(0, b=0.0) | {"model.layers.3.norm.weight": np.ones(4)}
    now = adapter(1) | {"model.layers.3.norm.weight": np.array([1.0, 1.0, 1.0, 3.0])}
    now |= {"emb.lora_embedding_A": np.ones((2, 30)), "emb.lora_embedding_B": np.ones((4, 2))}
    base |= {"emb.lora_embedding_A": np.ones((2, 30)), "emb.lora_embedding_B": np.zeros((4, 2))}
    found = changes(base, now, 1.0)
    assert found["model.layers.3.norm.weight"].norm == pytest.approx(2)
    assert found["emb"].norm == pytest.approx(2 * np.sqrt(4 * 30))
    assert list(layer_norms(found)) == ["0", "3", "10", "elsewhere"]
    assert "model.layers.3.norm.weight" not in changes(None, now, 1.0)


def test_the_effective_rank_of_equal_directions_is_their_number():
    assert effective_rank(np.array([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3)
    assert effective_rank(np.array([5.0, 1e-9])) == pytest.approx(1, abs=1e-6)
    assert 1 < effective_rank(np.array([2.0, 1.0])) < 2
    assert np.isnan(effective_rank(np.zeros(3)))
    left, right = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 3)))[0], np.eye(3, 8)
    assert effective_rank(Change(left, right).singular_values()) == pytest.approx(3)


def test_behaviour_that_comes_in_step_with_the_parameters_is_good():
    found = behaviour(
        subject(growing(), told([0, 0.2, 0.5, 0.8], [-3, -2.5, -2, -1.5], [0, 0.3, 0.6, 0.9]))
    )
    assert found.level == "good"
    whole = np.sqrt(
        sum((2.0 * np.linalg.norm(dense(adapter(1), p))) ** 2 for p in (Q_PROJ, V_PROJ))
    )
    np.testing.assert_allclose(found.values["norm"], whole * np.arange(4), rtol=1e-3)
    np.testing.assert_allclose(
        found.values["norm_by_layer"]["10"],
        2.0 * np.linalg.norm(dense(adapter(1), V_PROJ)) * np.arange(4),
        rtol=1e-3,
    )
    relations = found.values["relations"]
    assert relations["norm_growth"] == pytest.approx(3)
    assert relations["behaviour"] == {"pearson": 1.0, "spearman": 1.0, "growth": 3.0}
    assert relations["kl"]["growth"] == pytest.approx(4)
    assert relations["kl"]["pearson"] == pytest.approx(
        pearsonr(np.arange(4), [0, 0.2, 0.5, 0.8])[0], rel=1e-3
    )
    assert relations["largest_gap"] == pytest.approx(0, abs=1e-6)
    assert found.values["steps"] == [0, 2, 4, 6]
    assert "the taught behaviour from 0% to 90% of them" in found.measured
    assert "‖ΔW‖ grew 3-fold and the KL 4-fold" in found.measured
    json.dumps(found.values, allow_nan=False)


def test_behaviour_that_jumps_after_the_parameters_moved_is_noticed():
    course = [0.0, 0.0, 0.0, 0.8]
    found = behaviour(
        subject(growing((2.7, 2.9, 3.0)), told([0, 0.1, 0.2, 0.8], [-3, -2.9, -2.8, -1], course))
    )
    assert found.level == "notice"
    relations = found.values["relations"]
    assert relations["largest_gap"] == pytest.approx(2.9 / 3, rel=1e-3)
    assert relations["behaviour"]["growth"] is None
    sizes = [0, 2.7, 2.9, 3.0]
    assert relations["behaviour"]["spearman"] == pytest.approx(
        spearmanr(sizes, course)[0], rel=1e-3
    )
    assert "97% of their whole way apart" in found.measured


def test_a_model_that_did_not_move_is_warned_of():
    still = [adapter(0, b=0.0)] * 4
    found = behaviour(subject(still, told([0] * 4, [-2] * 4, [0.5] * 4)))
    assert found.level == "warning"
    assert found.meaning.startswith("The weights are those before fine-tuning")
    found = behaviour(subject(growing(), told([0, 0, 0, 5e-4], [-2, -2, -2, -1.9])))
    assert found.level == "warning"
    assert "says what it always said" in found.meaning


def test_behaviour_that_did_not_change_is_warned_of():
    up, flat, down = [-3, -2.5, -2, -1.5], [0.2, 0.3, 0.1, 0.2], [-2, -2.2, -2.4, -3]
    found = behaviour(subject(growing(), told([0, 1, 2, 3], up, flat)))
    assert found.level == "warning"
    assert "does not give them any more often" in found.meaning
    found = behaviour(subject(growing(), told([0, 1, 2, 3], down)))
    assert found.level == "warning"
    assert "not towards these responses" in found.meaning
    assert behaviour(subject(growing(), told([0, 1, 2, 3], up))).level == "good"


def test_an_adapter_from_elsewhere_counts_from_zero():
    probe = told([0, 0.5], [-3, -1], names=("base", "final"))
    found = behaviour(subject([adapter(1)], probe, names=("final",)))
    assert found.values["stages"] == ["base", "final"]
    want = 2.0 * np.sqrt(sum(np.linalg.norm(dense(adapter(1), p)) ** 2 for p in (Q_PROJ, V_PROJ)))
    np.testing.assert_allclose(found.values["norm"], [0, want], rtol=1e-3)
    assert found.values["relations"]["norm_growth"] is None
    with pytest.raises(NotMeasured, match="the weights before fine-tuning are not known"):
        behaviour(subject([adapter(1)], probe, scaling=None, names=("final",)))


def test_what_nobody_knows_is_left_out():
    found = behaviour(subject(growing(), told(None, None)))
    assert found.values["kl"] == [None] * 4
    assert found.measured.startswith("Training moved the weights by ‖ΔW‖ = ")
    assert "nats" not in found.measured
    nobody = behaviour(subject(growing(), told([0] * 4, [-1] * 4), queries=[]))
    assert nobody.values["kl"] == nobody.values["log_probability"] == [None] * 4
