"""Agreement between methods, and what judges one list of rows: filtering, mislabels, removals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata, spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from wherefrom.errors import IdentityError, NonFiniteError, SettingError
from wherefrom.metrics import (
    Truth,
    agreement,
    cardinality,
    evaluate,
    mislabel_detection,
    per_query,
    rank_agreement,
    rank_biased_overlap,
    removal_drop,
    top_overlap,
)
from wherefrom.metrics._drawn_ranks import midranks, rank_correlation
from wherefrom.scores import Scores


def scores_of(values, method="m", query_ids=None, train_ids=None):
    values = np.atleast_2d(np.asarray(values, dtype=np.float32))
    queries, rows = values.shape
    return Scores(
        values,
        tuple(query_ids or (f"q{i}" for i in range(queries))),
        tuple(train_ids or (f"t{i}" for i in range(rows))),
        method,
    )


def moved(scores, seed):
    rng = np.random.default_rng(seed)
    queries, rows = map(rng.permutation, scores.values.shape)
    return Scores(
        scores.values[np.ix_(queries, rows)],
        tuple(scores.query_ids[i] for i in queries),
        tuple(scores.train_ids[i] for i in rows),
        scores.method,
    )


def drawn(seed, queries=4, rows=12, levels=None):
    rng = np.random.default_rng(seed)
    if levels:
        return scores_of(rng.integers(levels, size=(queries, rows)), f"m{seed}")
    return scores_of(rng.normal(size=(queries, rows)), f"m{seed}")


PAIRS = {
    "spearman": rank_agreement,
    "top": lambda a, b: top_overlap(a, b, 5),
    "rbo": rank_biased_overlap,
}


@given(st.integers(0, 1000), st.integers(1, 5))
@settings(max_examples=40)
def test_rank_agreement_is_spearmans_correlation(seed, levels):
    first, second = drawn(seed, levels=levels), drawn(seed + 1, levels=4)
    for value, a, b in zip(rank_agreement(first, second), first.values, second.values, strict=True):
        if np.ptp(a) and np.ptp(b):
            assert value == pytest.approx(spearmanr(a, b).statistic)
        else:
            assert np.isnan(value)


def test_the_overlap_of_hand_made_rankings():
    # a b c d against b a d c: shares of the first 1, 2, 3, 4 rows are 0, 1, 2/3, 1.
    first, second = scores_of([4, 3, 2, 1]), scores_of([3, 4, 1, 2])
    assert top_overlap(first, second, 1).tolist() == [0.0]
    assert top_overlap(first, second, 2).tolist() == [1.0]
    assert top_overlap(first, second, 3) == pytest.approx([2 / 3])
    expected = 0.5**4 + (0.5 * 0 + 0.25 * 1 + 0.125 * 2 / 3 + 0.0625 * 1)
    assert rank_biased_overlap(first, second, 0.5) == pytest.approx([expected])


@given(st.integers(0, 1000), st.floats(0.05, 0.95))
@settings(max_examples=30)
def test_rank_biased_overlap_as_published(seed, p):
    first, second = drawn(seed), drawn(seed + 1)
    for value, a, b in zip(
        rank_biased_overlap(first, second, p), first.values, second.values, strict=True
    ):
        a, b, n = list(np.argsort(-a)), list(np.argsort(-b)), len(a)
        shared = [len(set(a[:d]) & set(b[:d])) for d in range(1, n + 1)]
        series = sum(x / d * p**d for d, x in enumerate(shared, start=1))
        assert value == pytest.approx(shared[-1] / n * p**n + (1 - p) / p * series)


@pytest.mark.parametrize("name", PAIRS)
def test_equal_rankings_agree_and_order_and_sides_play_no_part(name):
    measure, first, second = PAIRS[name], drawn(1), drawn(2)
    np.testing.assert_allclose(measure(first, replace(first, values=first.values * 3)), 1.0)
    values = measure(first, second)
    np.testing.assert_allclose(measure(second, first), values)
    np.testing.assert_allclose(measure(first, moved(second, 3)), values)
    turned = moved(first, 4)
    by_id = dict(zip(turned.query_ids, measure(turned, second), strict=True))
    np.testing.assert_allclose([by_id[q] for q in first.query_ids], values)


def test_opposite_rankings_have_nothing_in_common():
    first = scores_of(np.arange(400))
    second = replace(first, values=-first.values)
    assert rank_agreement(first, second).tolist() == [-1.0]
    assert top_overlap(first, second, 200).tolist() == [0.0]
    assert rank_biased_overlap(first, second)[0] < 1e-6


def test_unrelated_rankings_overlap_by_chance():
    first, second = drawn(1, 300, 50), drawn(2, 300, 50)
    assert abs(rank_agreement(first, second).mean()) < 0.03
    assert top_overlap(first, second, 10).mean() == pytest.approx(10 / 50, abs=0.02)


@pytest.mark.parametrize("measure", PAIRS)
def test_the_frame_holds_the_means_of_all_pairs(measure):
    methods = [drawn(seed) for seed in range(3)]
    frame = agreement([methods[0], moved(methods[1], 5), methods[2]], measure, k=5)
    assert list(frame.index) == list(frame.columns) == ["m0", "m1", "m2"]
    assert (frame == frame.T).all(axis=None)
    np.testing.assert_allclose(np.diag(frame), 1.0)
    expected = PAIRS[measure](methods[0], methods[1]).mean()
    assert frame.loc["m0", "m1"] == pytest.approx(expected)


def test_methods_that_say_nothing_agree_with_none():
    flat, other = scores_of(np.zeros((2, 5)), "flat"), drawn(1, 2, 5)
    half = replace(other, values=other.values * np.array([[1], [0]]), method="half")
    frame = agreement([flat, other, half])
    assert np.isnan(frame.loc["flat"]).all()
    assert frame.loc["half", "m1"] == pytest.approx(1.0)
    assert agreement([]).empty


def test_what_cannot_be_compared_is_refused():
    first = drawn(1)
    with pytest.raises(IdentityError, match="m1 has the query 'q3', m2 has not"):
        rank_agreement(first, drawn(2, queries=3))
    with pytest.raises(IdentityError, match="m2 has the training row 't12', m1 has not"):
        agreement([first, drawn(2, rows=13)])
    with pytest.raises(SettingError, match=r"'kendall'. Measures: spearman, top, rbo"):
        agreement([first], "kendall")
    with pytest.raises(SettingError, match="two methods are called 'm1'"):
        agreement([first, first])
    for k in (0, 13):
        with pytest.raises(SettingError, match="give a k from 1 to 12"):
            top_overlap(first, first, k)
        with pytest.raises(SettingError, match=f"k is {k} for 4 queries and 12"):
            cardinality(first, k)
    for p in (0.0, 1.0):
        with pytest.raises(SettingError, match="between 0 and 1"):
            rank_biased_overlap(first, first, p)


def test_cardinality_counts_distinct_rows():
    same = scores_of(np.tile(np.arange(10.0), (5, 1)))
    assert cardinality(same, 2) == pytest.approx(1 / 5)
    assert cardinality(scores_of(np.eye(5)), 1) == 1.0
    assert cardinality(scores_of([[3, 2, 1, 0], [3, 0, 2, 1]]), 2) == pytest.approx(3 / 4)
    assert cardinality(drawn(1, 30, 6), 6) == pytest.approx(6 / (6 * 30))
    assert cardinality(moved(same, 1), 2) == cardinality(same, 2)
    with pytest.raises(SettingError, match="0 queries"):
        cardinality(Scores(np.zeros((0, 3)), (), tuple("xyz"), "m"), 1)


def test_ranks_of_copies_are_those_of_the_copies_written_out():
    rng = np.random.default_rng(0)
    values, counts = rng.integers(0, 4, size=9), rng.integers(0, 3, size=(9, 5))
    ranks = midranks(values, counts.astype(float))
    for column, times in enumerate(counts.T):
        expected = rankdata(np.repeat(values, times))
        np.testing.assert_allclose(np.repeat(ranks[:, column], times), expected)
    constant = midranks(np.zeros(9), counts.astype(float))
    assert np.isnan(rank_correlation(ranks, constant, counts.astype(float))).all()


@given(st.integers(0, 1000), st.integers(2, 6))
@settings(max_examples=40)
def test_filtering_is_average_precision_of_the_mean_scores(seed, levels):
    rng = np.random.default_rng(seed)
    scores = drawn(seed, queries=6, rows=9, levels=levels)
    kinds = rng.random((3, 9)) < 0.4
    kinds[0] = False
    relevance = kinds[[0, 1, 1, 2, 2, 2]]
    truth = Truth(relevance, 2, scores.query_ids, scores.train_ids)
    found = per_query(scores, truth, "filtering_auprc")
    for query, relevant in enumerate(relevance):
        if not relevant.any():
            assert np.isnan(found[query])
            continue
        alike = (relevance == relevant).all(axis=1)
        mean = scores.values[alike].astype(np.float64).mean(axis=0)
        assert found[query] == pytest.approx(average_precision_score(relevant, mean))
    turned = moved(scores, seed)
    by_id = dict(zip(turned.query_ids, per_query(turned, truth, "filtering_auprc"), strict=True))
    np.testing.assert_equal([by_id[q] for q in scores.query_ids], found)


def test_one_query_with_large_scores_rules_the_list():
    relevance = np.array([[True, False, False]] * 2)
    scores = scores_of([[3, 2, 1], [-900, 0, 900]])
    assert per_query(scores, Truth(relevance, 2), "filtering_auprc") == pytest.approx([1 / 3] * 2)


def test_one_class_has_no_interval_to_speak_of():
    relevance = np.tile(np.arange(12) < 3, (4, 1))
    line = evaluate(drawn(1), Truth(relevance, 2), ["filtering_auprc"], resamples=50).iloc[0]
    assert line["low"] == pytest.approx(line["value"])
    assert line["high"] == pytest.approx(line["value"])
    empty = Scores(np.zeros((0, 3)), (), tuple("xyz"), "m")
    assert not len(per_query(empty, Truth(np.zeros((0, 3), dtype=bool), 2), "filtering_auprc"))


@given(st.integers(0, 1000), st.booleans())
@settings(max_examples=30)
def test_mislabel_detection_is_that_of_scikit_learn(seed, ties):
    rng = np.random.default_rng(seed)
    flipped = rng.permutation(np.arange(40) < 8)
    values = rng.normal(size=40) + flipped
    if ties:
        values = np.round(values)
    found = mislabel_detection(values, flipped, resamples=20)
    assert found.auroc.value == pytest.approx(roc_auc_score(flipped, values))
    assert found.average_precision.value == pytest.approx(average_precision_score(flipped, values))
    assert (found.rows, found.mislabelled) == (40, 8)
    order = rng.permutation(40)
    again = mislabel_detection(values[order], flipped[order], resamples=20)
    np.testing.assert_allclose(np.hstack(again), np.hstack(found))


def test_the_first_rows_inspected():
    # Of 20 rows, the first 2, 4 and 6; flipped are those ranked 1, 3, 4 and 20.
    values = np.arange(20.0, 0, -1)
    flipped = np.isin(np.arange(20), [0, 2, 3, 19])
    found = mislabel_detection(values, flipped, resamples=10)
    assert (found.found_in_10, found.found_in_20, found.found_in_30) == (1 / 4, 3 / 4, 3 / 4)
    # Where all tie, as many as chance finds.
    found = mislabel_detection(np.zeros(20), flipped, resamples=10)
    assert (found.found_in_10, found.found_in_20, found.found_in_30) == pytest.approx(
        (0.1, 0.2, 0.3)
    )
    assert found.auroc == (0.5, 0.5, 0.5)
    # A tenth of 15 rows is rounded up to two.
    found = mislabel_detection(np.arange(15.0), np.arange(15) == 13, resamples=10)
    assert found.found_in_10 == 1.0
    assert np.isnan([found.auroc.low, found.average_precision.high]).all()


def test_mislabel_intervals_cover():
    covered = 0
    for trial in range(60):
        rng = np.random.default_rng(trial)
        flipped = np.arange(120) < 25
        found = mislabel_detection(rng.normal(size=120) + flipped, flipped, resamples=200).auroc
        assert found.low < found.value < found.high
        covered += found.low <= norm.cdf(1 / np.sqrt(2)) <= found.high
    assert covered >= 0.85 * 60
    values = rng.normal(size=120) + flipped
    seeds = [mislabel_detection(values, flipped, resamples=70, seed=s).auroc for s in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_mislabels_that_cannot_be_judged_are_refused():
    values, flipped = np.arange(4.0), np.array([True, False, False, True])
    with pytest.raises(SettingError, match="0 of 4 rows are mislabelled"):
        mislabel_detection(values, flipped & False)
    with pytest.raises(SettingError, match="4 of 4 rows are mislabelled"):
        mislabel_detection(values, flipped | True)
    with pytest.raises(SettingError, match="a number and a boolean for each row"):
        mislabel_detection(values, flipped[:3])
    with pytest.raises(SettingError, match="a number and a boolean for each row"):
        mislabel_detection(values, flipped.astype(int))
    with pytest.raises(NonFiniteError, match="row 2 is inf"):
        mislabel_detection(np.array([0, 1, np.inf, 2]), flipped)


def removals(seeds=3, queries=10, draws=19, effect=0.0, noise=0.1, seed=0):
    rng = np.random.default_rng(seed)
    full = rng.normal(size=(seeds, queries)) - 5

    def without(drop, *shape):
        return full - drop + noise * rng.normal(size=(*shape, seeds, queries))

    return full, without(0.3 + effect), without(0.3, draws)


def test_a_removal_by_hand():
    full = np.array([[1.0, 2.0], [3.0, 4.0]])
    removed = np.array([[0.0, 2.0], [1.0, 4.0]])
    random = np.stack([full - 1.0, full - 0.5, full + 0.5])
    found = removal_drop(full, removed, random, resamples=50)
    assert found.drop.tolist() == [1.5, 0.0]
    assert found.random_drop == pytest.approx([1 / 3, 1 / 3])
    assert found.excess == pytest.approx([1.5 - 1 / 3, -1 / 3])
    assert found.p_value.tolist() == [1 / 4, 3 / 4]
    assert found.mean_drop.value == 0.75
    assert found.mean_excess.value == pytest.approx(0.75 - 1 / 3)
    assert found.mean_p_value == 2 / 4
    assert (found.draws, found.seeds) == (3, 2)


def test_a_method_that_finds_proponents_stands_out_of_chance():
    found = removal_drop(*removals(effect=1.0))
    assert found.mean_excess.value == pytest.approx(1.0, abs=0.1)
    assert found.mean_excess.low > 0.8
    assert found.mean_drop.value == pytest.approx(1.3, abs=0.1)
    assert found.mean_p_value == 1 / 20
    assert (found.p_value == 1 / 20).all()
    wrong = removal_drop(*removals(effect=-1.0))
    assert wrong.mean_excess.high < 0
    assert (wrong.p_value == 1.0).all()


def test_random_removals_are_no_different_from_random_ones():
    p_values, covered = [], 0
    for trial in range(60):
        found = removal_drop(*removals(queries=6, draws=200, seed=trial), resamples=200)
        p_values.append(found.mean_p_value)
        covered += found.mean_excess.low <= 0 <= found.mean_excess.high
    assert covered >= 0.85 * 60
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.12)


def test_removal_intervals_know_seeds_and_queries():
    full, removed, random = removals(seeds=4, queries=12, noise=0.0)

    def width(change):
        found = removal_drop(full, removed - change, random).mean_excess
        return found.high - found.low

    assert width(0.0) == pytest.approx(0.0, abs=1e-9)
    assert width(np.array([-1, 1, -1, 1])[:, None]) > 0.5
    assert width(np.tile([-1, 1], 6)) > 0.5


def test_removals_in_any_order():
    parts = removals(seeds=3, queries=7)
    found = removal_drop(*parts, resamples=60)
    rng = np.random.default_rng(1)
    seeds, queries = rng.permutation(3), rng.permutation(7)
    full, removed, random = (part[..., seeds, :][..., queries] for part in parts)
    again = removal_drop(full, removed, random[::-1], resamples=60)
    np.testing.assert_allclose(again.excess, found.excess[queries])
    np.testing.assert_allclose(again.p_value, found.p_value[queries])
    np.testing.assert_allclose(again.mean_excess, found.mean_excess)
    np.testing.assert_allclose(again.mean_drop, found.mean_drop)
    single = removal_drop(*(part[..., :1] for part in parts), resamples=20)
    assert np.isnan([single.mean_drop.low, single.mean_excess.high]).all()


def test_removals_that_do_not_fit_are_refused():
    full, removed, random = removals()
    with pytest.raises(SettingError, match="draws × seeds × queries"):
        removal_drop(full, removed, random[0])
    with pytest.raises(SettingError, match="seeds × queries twice"):
        removal_drop(full, removed[:1], random)
    with pytest.raises(SettingError, match="at least one seed"):
        removal_drop(full, removed, random[:0])
    with pytest.raises(SettingError, match="resamples is 0"):
        removal_drop(full, removed, random, resamples=0)
    random[4, 1, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"random at \(4, 1, 2\) is nan"):
        removal_drop(full, removed, random)
