"""Retrainings: the linear datamodeling score, its intervals, the noise ceiling, the ridge datamodel."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from wherefrom.errors import IdentityError, NonFiniteError, SettingError
from wherefrom.metrics import (
    NoiseCeiling,
    Retrainings,
    lds,
    lds_frame,
    noise_ceiling,
    paired_lds,
    ridge_datamodel,
)
from wherefrom.metrics._bootstrap import crossed_multiplicities
from wherefrom.scores import Scores


def ids(letter, n):
    return tuple(f"{letter}{i}" for i in range(n))


def masks(rng, subsets, rows):
    kept = np.zeros((subsets, rows), dtype=bool)
    for line in kept:
        line[rng.choice(rows, rows // 2, replace=False)] = True
    return kept


def additive(subsets=60, rows=30, queries=8, seeds=3, noise=0.0, seed=0):
    """Outcomes that add up from effects, with noise in units of what they vary over subsets."""
    rng = np.random.default_rng(seed)
    effects = rng.normal(size=(queries, rows)).astype(np.float32)
    kept = masks(rng, subsets, rows)
    signal = kept @ effects.T.astype(np.float64)
    outcomes = signal + noise * np.sqrt(rows) / 2 * rng.normal(size=(seeds, subsets, queries))
    scores = Scores(effects, ids("q", queries), ids("t", rows), "effects")
    return scores, Retrainings(kept, outcomes, scores.query_ids, scores.train_ids)


def blurred(scores, size, seed=1, method="blurred"):
    rng = np.random.default_rng(seed)
    values = scores.values + size * rng.normal(size=scores.values.shape)
    return Scores(values, scores.query_ids, scores.train_ids, method)


def shuffled(retrainings, seed):
    rng = np.random.default_rng(seed)
    seeds, subsets, queries = map(rng.permutation, retrainings.outcomes.shape)
    rows = rng.permutation(retrainings.kept.shape[1])
    return Retrainings(
        retrainings.kept[np.ix_(subsets, rows)],
        retrainings.outcomes[np.ix_(seeds, subsets, queries)],
        tuple(retrainings.query_ids[i] for i in queries),
        tuple(retrainings.train_ids[i] for i in rows),
    )


def asked(retrainings, queries):
    names = tuple(retrainings.query_ids[q] for q in queries)
    return replace(retrainings, outcomes=retrainings.outcomes[:, :, queries], query_ids=names)


def width(scores, retrainings, **settings):
    line = lds_frame(scores, retrainings, **settings).iloc[0]
    return line["high"] - line["low"]


def test_additive_outcomes_are_foretold_exactly():
    scores, retrainings = additive()
    assert (lds(scores, retrainings) == 1.0).all()
    frame = lds_frame(scores, retrainings, resamples=50)
    assert (frame[["value", "low", "high"]] == 1.0).all(axis=None)
    turned = replace(scores, values=-scores.values)
    assert (lds(turned, retrainings) == -1.0).all()


@given(st.integers(0, 1000), st.integers(2, 9), st.booleans())
@settings(max_examples=40)
def test_it_is_spearmans_correlation_over_subsets(seed, subsets, ties):
    rng = np.random.default_rng(seed)
    kept = rng.random((subsets, 6)) < 0.5
    outcomes = rng.normal(size=(2, subsets, 3))
    if ties:
        outcomes = np.round(outcomes)
    values = rng.integers(-2, 3, size=(3, 6)).astype(np.float32)
    found = lds(
        Scores(values, ids("q", 3), ids("t", 6), "m"),
        Retrainings(kept, outcomes, ids("q", 3), ids("t", 6)),
    )
    for query in range(3):
        sums = [values[query][mask].sum() for mask in kept]
        means = outcomes[:, :, query].mean(axis=0)
        if np.ptp(means) == 0:
            assert np.isnan(found[query])
        elif np.ptp(sums) == 0:
            assert found[query] == 0
        else:
            assert found[query] == pytest.approx(spearmanr(sums, means).statistic)


def test_constant_scores_foretell_nothing_and_constant_outcomes_cannot_be_foretold():
    scores, retrainings = additive(queries=4)
    outcomes = retrainings.outcomes.copy()
    outcomes[:, :, 1] = -3.1
    values = scores.values.copy()
    values[2] = 0.1
    scores, retrainings = replace(scores, values=values), replace(retrainings, outcomes=outcomes)
    np.testing.assert_equal(lds(scores, retrainings), [1.0, np.nan, 0.0, 1.0])
    line = lds_frame(scores, retrainings, resamples=50).iloc[0]
    assert line["value"] == pytest.approx(2 / 3)
    assert (line["queries"], line["undefined"]) == (4, 1)
    assert (line["subsets"], line["seeds"]) == (60, 3)


def test_nothing_or_one_query_that_varies_gives_no_interval():
    scores, retrainings = additive(queries=2)
    still = retrainings.outcomes.copy()
    still[:, :, 0] = 0
    line = lds_frame(scores, replace(retrainings, outcomes=still), resamples=20).iloc[0]
    assert line["value"] == 1.0
    assert np.isnan([line["low"], line["high"]]).all()
    line = lds_frame(scores, replace(retrainings, outcomes=0 * still), resamples=20).iloc[0]
    assert np.isnan([line["value"], line["low"], line["high"]]).all()
    assert line["undefined"] == 2


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_no_order_plays_a_part(seed):
    scores, retrainings = additive(subsets=20, queries=5, noise=1.0)
    scores = blurred(scores, 0.5)
    moved = shuffled(retrainings, seed)
    rng = np.random.default_rng(seed)
    queries, rows = rng.permutation(5), rng.permutation(30)
    turned = Scores(
        scores.values[np.ix_(queries, rows)],
        tuple(scores.query_ids[i] for i in queries),
        tuple(scores.train_ids[i] for i in rows),
        "blurred",
    )
    frame = lds_frame(scores, retrainings, resamples=40)
    assert frame.equals(lds_frame(turned, moved, resamples=40))
    by_id = dict(zip(moved.query_ids, lds(turned, moved), strict=True))
    assert [by_id[q] for q in retrainings.query_ids] == lds(scores, retrainings).tolist()
    assert noise_ceiling(moved, 40) == noise_ceiling(retrainings, 40)
    first, second = ridge_datamodel(retrainings), ridge_datamodel(moved)
    expected = first.to_pandas().loc[list(moved.query_ids), list(moved.train_ids)]
    assert (second.to_pandas() == expected).all(axis=None)
    parts = [{line.tobytes() for line in r.ordered().kept} for r in retrainings.split(12)]
    assert parts == [{line.tobytes() for line in r.ordered().kept} for r in moved.split(12)]


def test_a_resample_is_what_a_plain_bootstrap_computes():
    scores, retrainings = additive(subsets=12, queries=4, seeds=3, noise=1.0)
    scores = blurred(scores, 2.0)
    frame = lds_frame(scores, retrainings, resamples=60, seed=3)
    ordered = retrainings.ordered()
    order = [scores.query_ids.index(q) for q in ordered.query_ids]
    rows = [scores.train_ids.index(t) for t in ordered.train_ids]
    values = scores.values[np.ix_(order, rows)].astype(np.float64)
    means = []
    for subset, seed, query in zip(
        *(counts.T.astype(int) for counts in crossed_multiplicities((12, 3, 4), 60, 3)), strict=True
    ):
        places, seeds, queries = (np.repeat(np.arange(len(c)), c) for c in (subset, seed, query))
        truth = ordered.outcomes[seeds].mean(axis=0)[places]
        sums = np.array([values[:, ordered.kept[place]].sum(axis=1) for place in places])
        means.append(np.mean([spearmanr(sums[:, q], truth[:, q]).statistic for q in queries]))
    lean = np.mean(means) - frame["value"][0]
    assert frame[["low", "high"]].iloc[0].tolist() == pytest.approx(
        (np.percentile(means, [2.5, 97.5]) - lean).tolist()
    )


def test_the_value_lies_in_its_interval_however_noisy_the_seeds():
    scores, retrainings = additive(subsets=100, queries=20, seeds=5, noise=1.5)
    line = lds_frame(blurred(scores, 0.3), retrainings, resamples=300).iloc[0]
    low, high = line["value"] - line["low"], line["high"] - line["value"]
    assert min(low, high) > 0.25 * (low + high)


def test_the_interval_of_random_scores_covers_zero():
    covered = 0
    for trial in range(60):
        scores, retrainings = additive(
            subsets=30, rows=20, queries=6, seeds=2, noise=0.5, seed=trial
        )
        values = np.random.default_rng(1000 + trial).normal(size=scores.values.shape)
        random = replace(scores, values=values)
        line = lds_frame(random, retrainings, resamples=200).iloc[0]
        assert line["low"] <= line["value"] <= line["high"]
        covered += line["low"] <= 0 <= line["high"]
    assert covered >= 0.85 * 60


def test_the_interval_covers_what_more_subsets_and_queries_would_give():
    many, retrainings = additive(subsets=1500, queries=120, seeds=1, noise=0.7)
    truth = lds(blurred(many, 1.0), retrainings).mean()
    covered = 0
    for trial in range(40):
        rng = np.random.default_rng(trial)
        part = retrainings.take(rng.choice(1500, 30, replace=False))
        part = asked(part, rng.choice(120, 8, replace=False))
        line = lds_frame(blurred(many, 1.0), part, resamples=200).iloc[0]
        covered += line["low"] <= truth <= line["high"]
    assert covered >= 0.85 * 40


def test_seeds_that_disagree_widen_the_interval():
    scores, retrainings = additive(subsets=200, queries=12, seeds=4, noise=0.8)
    scores = blurred(scores, 1.0)
    # The same mean over seeds, and no disagreement about it.
    alike = np.repeat(retrainings.outcomes.mean(axis=0, keepdims=True), 4, axis=0)
    agreeing = replace(retrainings, outcomes=alike)
    assert lds(scores, agreeing) == pytest.approx(lds(scores, retrainings))
    assert width(scores, retrainings) > 1.2 * width(scores, agreeing)


def test_fewer_subsets_widen_the_interval():
    scores, retrainings = additive(subsets=400, queries=12, seeds=1, noise=0.8)
    scores = blurred(scores, 1.0)
    assert width(scores, retrainings.take(range(25))) > 2 * width(scores, retrainings)


def test_queries_that_differ_widen_the_interval():
    scores, retrainings = additive(subsets=400, queries=12, seeds=1)
    uneven = scores.values.copy()
    uneven[::2] *= -1
    assert width(replace(scores, values=uneven), retrainings) > 0.5
    assert width(blurred(scores, 1.0), retrainings) < 0.2


def test_a_difference_is_judged_on_the_same_resamples():
    scores, retrainings = additive(subsets=60, seeds=2, noise=1.0)
    better, worse = blurred(scores, 0.8), blurred(scores, 1.2, method="worse")
    found = paired_lds(better, worse, retrainings)
    values = [lds(one, retrainings).mean() for one in (better, worse)]
    assert found.difference == pytest.approx(values[0] - values[1])
    assert 0 < found.low < found.high
    # Apart, the two intervals overlap.
    frame = lds_frame([better, worse], retrainings)
    assert frame["low"][0] < frame["high"][1]
    back = paired_lds(worse, better, retrainings)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert paired_lds(better, better, retrainings, 20) == (0.0, 0.0, 0.0)


def test_methods_are_resampled_alike():
    scores, retrainings = additive(noise=1.0)
    methods = [blurred(scores, size, method=f"m{size}") for size in (0.0, 1.0)]
    together = lds_frame(methods, retrainings, resamples=30, seed=4)
    apart = [lds_frame(one, retrainings, resamples=30, seed=4) for one in methods]
    assert list(together["method"]) == ["m0.0", "m1.0"]
    for line, one in zip(together.itertuples(), apart, strict=True):
        assert (line.low, line.high) == (one["low"][0], one["high"][0])
    assert lds_frame(methods, retrainings, resamples=30, seed=5)["low"][0] != together["low"][0]
    with pytest.raises(SettingError, match="resamples is 0"):
        lds_frame(scores, retrainings, resamples=0)
    with pytest.raises(SettingError, match="the seed -1"):
        lds_frame(scores, retrainings, seed=-1)


def test_scores_may_answer_more_queries_but_must_know_all_rows():
    scores, retrainings = additive(queries=3)
    assert lds(scores, asked(retrainings, [1, 2])).tolist() == [1.0, 1.0]
    lacking = replace(scores, values=scores.values[:2], query_ids=("q0", "q1"))
    with pytest.raises(IdentityError, match=r"has the query 'q2', effects has not"):
        lds(lacking, retrainings)
    lacking = replace(scores, values=scores.values[:, 1:], train_ids=ids("t", 30)[1:])
    with pytest.raises(IdentityError, match=r"has the training row 't0', effects has not"):
        lds(lacking, retrainings)
    more = replace(scores, train_ids=("other", *ids("t", 30)[1:]))
    with pytest.raises(
        IdentityError, match=r"effects has the training row 'other'.*column of True"
    ):
        lds(more, retrainings)
    twice = replace(scores, query_ids=("q0", "q1", "q1"))
    with pytest.raises(IdentityError, match="effects has the query 'q1' twice"):
        lds(twice, asked(retrainings, [0, 1]))


def test_retrainings_that_do_not_fit_are_refused():
    _, good = additive(queries=2)
    for change, message in (
        ({"kept": good.kept.astype(float)}, "boolean matrix"),
        ({"kept": good.kept[:5]}, "for 5 subsets"),
        ({"outcomes": good.outcomes[0]}, "seeds × subsets × queries"),
        ({"outcomes": good.outcomes[:0]}, "empty"),
        ({"query_ids": ("q0",)}, "query_ids has 1 different ids for 2"),
        ({"train_ids": ("t0",) * 30}, "train_ids has 1 different ids for 30"),
    ):
        with pytest.raises(SettingError, match=message):
            replace(good, **change)
    broken = good.outcomes.copy()
    broken[1, 4, 1] = np.nan
    with pytest.raises(NonFiniteError, match="query 'q1' at seed 1 and subset 4 is nan"):
        replace(good, outcomes=broken)


def test_parts_are_disjoint():
    _, retrainings = additive(subsets=40)
    first, second = retrainings.split(25, seed=2)
    assert (len(first.kept), len(second.kept)) == (25, 15)
    assert not {m.tobytes() for m in first.kept} & {m.tobytes() for m in second.kept}
    taken = retrainings.take([3, 1])
    assert (taken.outcomes == retrainings.outcomes[:, [3, 1]]).all()
    for wrong in ([], np.array([], int), 3, [40], [-1], [0.5], np.ones(40, dtype=bool)):
        with pytest.raises(SettingError, match="numbered 0 to 39"):
            retrainings.take(wrong)
    for n in (0, 40):
        with pytest.raises(SettingError, match="cannot be split"):
            retrainings.split(n)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_ceiling_is_what_the_true_effects_reach(noise):
    scores, retrainings = additive(subsets=400, queries=40, seeds=4, noise=noise)
    found = noise_ceiling(retrainings, 100)
    reliability = 1 / (1 + noise**2 / 4)
    assert found.ceiling == pytest.approx(np.sqrt(reliability), abs=0.03)
    assert found.ceiling == pytest.approx(lds(scores, retrainings).mean(), abs=0.03)
    # Halves of two seeds each.
    assert found.agreement == pytest.approx(1 / (1 + noise**2 / 2), abs=0.04)
    assert found.low < found.ceiling < found.high


def test_seeds_without_noise_leave_room_for_one_and_seeds_of_noise_for_little():
    assert noise_ceiling(additive(noise=0.0)[1], 20) == (1.0, 1.0, 1.0, 1.0)
    _, retrainings = additive(subsets=400, queries=20)
    noise = np.random.default_rng(0).normal(size=retrainings.outcomes.shape)
    found = noise_ceiling(replace(retrainings, outcomes=noise), 100)
    assert abs(found.agreement) < 0.05
    assert 0 <= found.low <= found.ceiling < 0.3


def test_one_seed_has_no_ceiling_and_two_have_one():
    _, retrainings = additive(noise=1.0, seeds=2)
    assert all(np.isnan(noise_ceiling(replace(retrainings, outcomes=retrainings.outcomes[:1]), 20)))
    found = noise_ceiling(retrainings, 200)
    assert isinstance(found, NoiseCeiling)
    # A seed that met its own copy would put the high end at 1.
    assert found.low < found.ceiling < found.high < 0.95
    single = [
        spearmanr(*retrainings.outcomes[:, :, query]).statistic
        for query in range(len(retrainings.query_ids))
    ]
    assert found.agreement == pytest.approx(np.mean(single))
    assert found.ceiling == pytest.approx(np.mean([np.sqrt(2 * r / (1 + r)) for r in single]))


@pytest.mark.parametrize("seeds", [3, 12])
def test_odd_seeds_are_split_unevenly_and_many_at_random(seeds):
    _, retrainings = additive(subsets=80, seeds=seeds, noise=1.0)
    found = noise_ceiling(retrainings, 20)
    assert 0 < found.agreement < found.ceiling < 1


def test_a_datamodel_foretells_other_retrainings_nearly_as_well_as_can_be():
    scores, retrainings = additive(subsets=700, rows=40, queries=6, seeds=3, noise=0.7)
    fitted, judged = retrainings.split(500)
    model = ridge_datamodel(fitted)
    assert (model.method, model.train_ids) == ("datamodel", scores.train_ids)
    assert model.settings["subsets"] == 500
    assert set(model.settings["alphas"]) == set(scores.query_ids)
    ceiling = noise_ceiling(judged, 50).ceiling
    assert ceiling - 0.06 < lds(model, judged).mean() < ceiling + 0.02
    few = ridge_datamodel(fitted.take(range(30)))
    assert lds(few, judged).mean() < lds(model, judged).mean() - 0.1
    # All subsets are of one size: effects are known up to a constant.
    centred = scores.values - scores.values.mean(axis=1, keepdims=True)
    assert np.corrcoef(model.values.ravel(), centred.ravel())[0, 1] > 0.95
    np.testing.assert_allclose(model.values.sum(axis=1), 0, atol=1e-3)


def test_a_datamodel_is_in_the_unit_of_the_outcome():
    rng = np.random.default_rng(0)
    kept = rng.random((300, 8)) < 0.5
    kept[:, 3], kept[:, 4] = True, False
    effects = np.array([[4.0, -2, 1, 9, 9, 0, 0, 0]])
    outcomes = (kept @ effects.T)[None] + 100
    found = ridge_datamodel(Retrainings(kept, outcomes, ("q",), ids("t", 8))).values
    np.testing.assert_allclose(found[0], [4, -2, 1, 0, 0, 0, 0, 0], atol=0.02)
    still = ridge_datamodel(Retrainings(kept, 0 * outcomes, ("q",), ids("t", 8)))
    assert not still.values.any()


def test_a_datamodel_needs_subsets_that_differ():
    _, retrainings = additive(subsets=5)
    with pytest.raises(SettingError, match="2 subsets"):
        ridge_datamodel(retrainings.take([0, 1]))
    with pytest.raises(SettingError, match="keep 1 different sets"):
        ridge_datamodel(retrainings.take([0, 0, 0]))
