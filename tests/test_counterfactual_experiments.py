"""Experiments on a world whose answer is known: outcomes that are sums of the rows' effects."""

import numpy as np
import pytest

from wherefrom.counterfactual import (
    Asked,
    brittleness,
    brittleness_summary,
    leave_one_out,
    leave_top_out,
    random_subsets,
    retrain_on_subsets,
    sizes,
)
from wherefrom.counterfactual._subsets import without_random, without_top
from wherefrom.errors import SettingError
from wherefrom.metrics import lds, lds_frame, noise_ceiling
from wherefrom.scores import Scores

ROWS, QUERIES = 20, 5
TRAIN_IDS = tuple(f"r{i}" for i in range(ROWS))
QUERY_IDS = tuple(f"q{i}" for i in range(QUERIES))


class AdditiveWorld:
    """In place of a workshop: a model's outcome is the sum of the effects of the rows it was trained on.

    Attributes:
        effects: queries × rows.
        noise: standard deviation of what a seed adds.
        threshold: outcomes are 1 above it and 0 below, where it is given.
    """

    def __init__(self, noise=0.0, threshold=None):
        self.effects = np.random.default_rng(0).normal(size=(QUERIES, ROWS))
        self.noise, self.threshold, self.asked = noise, threshold, 0

    def outcomes(self, weights, seeds, outcome, label):
        self.asked += len(weights)
        values = np.stack([weights @ self.effects.T for _ in seeds])
        for place, seed in enumerate(seeds):
            for line, kept in enumerate(weights):
                rng = np.random.default_rng([seed, *kept.astype(int)])
                values[place, line] += self.noise * rng.normal(size=QUERIES)
        return values if self.threshold is None else (values > self.threshold).astype(float)


def asked(world, seeds=(0,), outcome="log_probability"):
    return Asked(world, seeds, outcome, QUERY_IDS, TRAIN_IDS)


def scores(values, method="m", order=None):
    order = list(range(ROWS)) if order is None else list(order)
    return Scores(values[:, order], QUERY_IDS, tuple(TRAIN_IDS[i] for i in order), method)


def test_true_effects_have_an_lds_of_one_and_random_scores_none():
    world = AdditiveWorld()
    found = retrain_on_subsets(asked(world), 60, 0.5)
    assert lds(scores(world.effects), found) == pytest.approx(np.ones(QUERIES))
    shuffled = scores(world.effects, order=np.random.default_rng(1).permutation(ROWS))
    assert lds(shuffled, found) == pytest.approx(np.ones(QUERIES))
    inside = 0
    for seed in range(10):
        random = scores(np.random.default_rng(seed).normal(size=(QUERIES, ROWS)))
        line = lds_frame(random, found, resamples=300).iloc[0]
        inside += line["low"] <= 0 <= line["high"]
    assert inside >= 8


def test_noise_between_seeds_lowers_the_ceiling():
    quiet = noise_ceiling(retrain_on_subsets(asked(AdditiveWorld(0.1), (0, 1, 2)), 60, 0.5))
    loud = noise_ceiling(retrain_on_subsets(asked(AdditiveWorld(3.0), (0, 1, 2)), 60, 0.5))
    assert quiet.ceiling > 0.95 > loud.ceiling


def test_leaving_one_row_out_gives_its_effect():
    world = AdditiveWorld()
    found = leave_one_out(asked(world, (0, 1)))
    np.testing.assert_allclose(found.values, world.effects, rtol=1e-5, atol=1e-5)
    assert found.train_ids == TRAIN_IDS


def test_a_removal_costs_what_its_rows_brought():
    world = AdditiveWorld()
    order = np.random.default_rng(2).permutation(ROWS)
    best = scores(world.effects, "best", order)
    worst = scores(-world.effects, "worst")
    found = leave_top_out(asked(world), [best, worst], [1, 4], draws=30)
    ranked = np.sort(world.effects, axis=1)[:, ::-1]
    for k in (1, 4):
        assert found["best", k].drop == pytest.approx(ranked[:, :k].sum(1))
        assert found["worst", k].drop == pytest.approx(ranked[:, -k:].sum(1))
        mean = k * world.effects.mean(1)
        assert np.abs(found["best", k].random_drop - mean).max() < 4 * k**0.5 / 30**0.5
        assert found["best", k].mean_p_value == pytest.approx(1 / 31)
        assert found["worst", k].mean_p_value > 0.9


@pytest.mark.parametrize("threshold", [-2.0, 0.0, 1.0])
def test_brittleness_finds_the_smallest_removal_that_flips(threshold):
    world = AdditiveWorld(threshold=threshold)
    full = world.effects.sum(1)
    frame = brittleness(asked(world, outcome="greedy"), [scores(world.effects)], ROWS // 2)
    assert set(frame["query"]) == {QUERY_IDS[q] for q in range(QUERIES) if full[q] > threshold}
    for line in frame.to_dict("records"):
        q = QUERY_IDS.index(line["query"])
        left = full[q] - np.sort(world.effects[q])[::-1].cumsum()
        enough = np.flatnonzero(left <= threshold) + 1
        expected = enough[0] if len(enough) and enough[0] <= ROWS // 2 else np.nan
        assert line["k"] == pytest.approx(expected, nan_ok=True)
    summary = brittleness_summary(frame).iloc[0]
    assert summary["flipped"] == pytest.approx(frame["k"].notna().mean())


def test_brittleness_counts_what_no_removal_flips():
    world = AdditiveWorld(threshold=-1e9)
    frame = brittleness(asked(world, outcome="greedy"), [scores(world.effects)], 4)
    assert frame["k"].isna().all()
    summary = brittleness_summary(frame).iloc[0]
    assert np.isnan(summary["median"])
    assert summary["flipped"] == 0


def test_brittleness_needs_a_behaviour_that_is_there():
    with pytest.raises(SettingError, match="0 or 1"):
        brittleness(asked(AdditiveWorld()), [scores(np.zeros((QUERIES, ROWS)))], 4)
    world = AdditiveWorld(threshold=1e9)
    with pytest.raises(SettingError, match="Train longer"):
        brittleness(asked(world, outcome="greedy"), [scores(world.effects)], 4)


def test_more_subsets_are_added_to_the_same_ones():
    few, many = random_subsets(30, 5, 0.4, 1), random_subsets(30, 9, 0.4, 1)
    assert np.array_equal(few, many[:5])
    assert (many.sum(1) == 12).all()
    assert len(np.unique(many, axis=0)) == 9
    assert not np.array_equal(few, random_subsets(30, 5, 0.4, 2))


def test_what_is_removed_is_what_scores_rank_first():
    order = np.random.default_rng(3).permutation(ROWS)
    values = np.random.default_rng(4).normal(size=(QUERIES, ROWS))
    kept = without_top(scores(values, order=order), 3, TRAIN_IDS)
    for line, score in zip(kept, values, strict=True):
        assert set(np.flatnonzero(~line)) == set(np.argsort(-score)[:3])
    assert (~without_random(ROWS, 3, 7)).sum(1).tolist() == [3] * 7


def test_sizes_are_numbers_or_percentages():
    assert sizes(["10%", "3", "2.5%"], 40) == [1, 3, 4]
    for wrong in ("0", "-1", "100%", "x", "50"):
        with pytest.raises(SettingError):
            sizes([wrong], 40)
