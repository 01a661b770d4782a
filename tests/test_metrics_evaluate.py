"""Averages, intervals, paired differences, and who is ranked first."""

import numpy as np
import pytest

from wherefrom.data import Example
from wherefrom.errors import DataError, IdentityError, SettingError
from wherefrom.metrics import (
    Concentration,
    Truth,
    concentration,
    evaluate,
    list_metrics,
    paired_difference,
    per_query,
)
from wherefrom.metrics._bootstrap import interval, multiplicities, pooled_interval
from wherefrom.scores import Scores
from wherefrom.tasks import TaskSize, build_task


def case(queries=30, n=60, classes=3, signal=1.0, seed=0, method="m"):
    rng = np.random.default_rng(seed)
    relevance = np.arange(n)[None] % classes == np.arange(queries)[:, None] % classes
    values = rng.normal(size=(queries, n)) + signal * relevance
    scores = Scores(
        values, tuple(f"q{i}" for i in range(queries)), tuple(f"t{i}" for i in range(n)), method
    )
    return scores, Truth(relevance, classes, scores.query_ids, scores.train_ids)


def test_the_frame_has_one_line_for_each_method_and_metric():
    first, truth = case(method="first")
    second, _ = case(method="second", signal=0.2)
    frame = evaluate([first, second], truth, resamples=200)
    assert list(frame.columns) == [
        "method", "metric", "value", "low", "high", "queries", "undefined",
    ]  # fmt: skip
    assert len(frame) == 2 * len(list_metrics())
    assert set(frame["method"]) == {"first", "second"}
    assert (frame["low"] <= frame["value"]).all()
    assert (frame["value"] <= frame["high"]).all()
    assert (frame["queries"] == 30).all()
    assert (frame["undefined"] == 0).all()
    for line in frame[frame["method"] == "first"].itertuples():
        assert line.value == pytest.approx(per_query(first, truth, line.metric).mean())


def test_one_method_and_chosen_metrics():
    scores, truth = case()
    frame = evaluate(scores, truth, ["auroc", "recall@3"], resamples=50)
    assert list(frame["metric"]) == ["auroc", "recall@3"]


def test_undefined_queries_are_left_out_and_counted():
    scores, truth = case(queries=4)
    relevance = truth.relevance.copy()
    relevance[0] = True
    relevance[1] = False
    truth = Truth(relevance, 3)
    frame = evaluate(scores, truth, ["auroc", "accuracy"], resamples=100).set_index("metric")
    assert frame["undefined"].to_dict() == {"auroc": 2, "accuracy": 1}
    assert frame["queries"].to_dict() == {"auroc": 4, "accuracy": 4}
    defined = per_query(scores, truth, "auroc")[2:]
    assert frame.loc["auroc", "value"] == pytest.approx(defined.mean())


def test_nothing_defined_and_one_defined_give_no_interval():
    assert np.isnan(interval(np.array([np.nan, np.nan]), multiplicities(2, 10, 0))).all()
    mean, low, high = interval(np.array([np.nan, 0.25]), multiplicities(2, 10, 0))
    assert mean == 0.25
    assert np.isnan([low, high]).all()
    assert np.isnan(interval(np.array([]), multiplicities(0, 10, 0))).all()


def test_the_interval_is_that_of_a_plain_bootstrap():
    values = np.random.default_rng(3).random(25)
    _, low, high = interval(values, multiplicities(25, 400, 7))
    rng = np.random.default_rng(7)
    means = [values[row].mean() for row in rng.integers(25, size=(400, 25))]
    assert (low, high) == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))


def test_the_interval_covers():
    rng = np.random.default_rng(0)
    weights = multiplicities(80, 400, 0)
    covered = 0
    for _ in range(300):
        _, low, high = interval(rng.beta(2, 5, size=80), weights)
        covered += low <= 2 / 7 <= high
    assert 0.90 <= covered / 300 <= 0.99


def test_the_same_seed_gives_the_same_interval_in_any_order_of_queries():
    scores, truth = case()
    frame = evaluate(scores, truth, resamples=100, seed=5)
    order = np.random.default_rng(1).permutation(30)
    moved = Scores(
        scores.values[order],
        tuple(scores.query_ids[i] for i in order),
        scores.train_ids,
        scores.method,
    )
    again = evaluate(moved, truth, resamples=100, seed=5)
    np.testing.assert_allclose(
        frame[["value", "low", "high"]].to_numpy(), again[["value", "low", "high"]].to_numpy()
    )
    other = evaluate(scores, truth, resamples=100, seed=6)
    assert not np.allclose(frame["low"], other["low"])


def test_perfect_scores_leave_no_doubt():
    scores, truth = case(signal=100.0)
    frame = evaluate(scores, truth, ["accuracy", "coverage", "auroc"], resamples=50)
    assert (frame[["value", "low", "high"]] == 1.0).all(axis=None)


def test_a_difference_is_paired():
    strong, truth = case(signal=1.5, method="strong")
    weak, _ = case(signal=0.2, method="weak")
    found = paired_difference(strong, weak, truth, "auroc", resamples=500)
    expected = per_query(strong, truth, "auroc") - per_query(weak, truth, "auroc")
    assert found.difference == pytest.approx(expected.mean())
    assert 0 < found.low < found.difference < found.high
    back = paired_difference(weak, strong, truth, "auroc", resamples=500)
    assert back.difference == pytest.approx(-found.difference)
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))
    assert paired_difference(strong, strong, truth, "mrr", resamples=20) == (0.0, 0.0, 0.0)


def test_a_difference_pairs_by_id_not_by_place():
    scores, truth = case()
    turned = Scores(scores.values[::-1], scores.query_ids[::-1], scores.train_ids, "turned")
    assert paired_difference(scores, turned, truth, "auroc", resamples=20) == (0.0, 0.0, 0.0)


def test_methods_on_different_queries_are_not_compared():
    scores, truth = case()
    part = Scores(scores.values[1:], scores.query_ids[1:], scores.train_ids, "part")
    with pytest.raises(IdentityError, match="'q0' is in one of them only"):
        paired_difference(scores, part, truth, "auroc")


@pytest.mark.parametrize("settings", [{"resamples": 0}, {"seed": -1}])
def test_impossible_settings_are_refused(settings):
    scores, truth = case()
    with pytest.raises(SettingError, match="resamples is"):
        evaluate(scores, truth, **settings)


def test_the_truth_of_a_task():
    made = build_task("grammars", TaskSize(3, 2))
    truth = Truth.of(made)
    assert truth.relevance.shape == (20, 30)
    assert truth.n_classes == 10
    assert (truth.relevance.sum(axis=1) == 3).all()
    perfect = Scores(truth.relevance, truth.query_ids, truth.train_ids, "perfect")
    assert (evaluate(perfect, truth, resamples=20)["value"] == 1.0).all()


def test_concentration_sees_an_outlier():
    values = np.tile(np.arange(5.0), (4, 1))
    values[3, 0] = 9.0
    scores = Scores(values, tuple("abcd"), tuple("vwxyz"), "m")
    assert concentration(scores) == Concentration(distinct=2, of=4, most_frequent="z", share=0.75)


def test_concentration_does_not_depend_on_the_order_of_rows():
    scores = Scores(np.eye(3), tuple("abc"), tuple("xyz"), "m")
    turned = Scores(np.eye(3)[:, ::-1], tuple("abc"), tuple("zyx"), "m")
    assert concentration(scores) == concentration(turned)
    assert concentration(scores).most_frequent == "x"


def test_concentration_of_nothing_is_refused():
    with pytest.raises(SettingError, match="empty"):
        concentration(Scores(np.zeros((0, 3)), (), tuple("xyz"), "m"))


def test_one_seed_pooled_is_the_interval_over_queries():
    values = np.random.default_rng(0).random(30)
    weights = multiplicities(30, 1000, 0)
    assert pooled_interval([values]) == interval(values, weights)


def test_seeds_that_disagree_widen_the_interval():
    rng = np.random.default_rng(1)
    alike = [rng.random(40) * 0.1 + 0.5 for _ in range(3)]
    apart = [values + shift for values, shift in zip(alike, (-0.3, 0.0, 0.3), strict=True)]
    (mean_a, low_a, high_a), (mean_b, low_b, high_b) = map(pooled_interval, (alike, apart))
    assert mean_a == pytest.approx(mean_b)
    assert high_b - low_b > 3 * (high_a - low_a)
    assert low_a < mean_a < high_a


def test_pooling_leaves_out_what_is_undefined():
    nan = np.array([np.nan, np.nan])
    assert pooled_interval([np.array([1.0, np.nan]), np.array([0.0, np.nan])])[0] == 0.5
    assert np.isnan(pooled_interval([nan, nan])).all()


def test_rows_without_a_class_or_of_an_unknown_one_are_named():
    rows = [Example.of("a", "p", "r", "x"), Example.of("b", "p", "r")]
    with pytest.raises(DataError, match=r"'b'.*has no class"):
        Truth.from_labels(rows, rows[:1])
    with pytest.raises(DataError, match=r"'c'.*'y' has no training row"):
        Truth.from_labels(rows[:1], [Example.of("c", "p", "r", "y")])
    truth = Truth.from_labels(rows[:1], rows[:1])
    assert truth.chance() == {"accuracy": 1, "coverage": 1, "coverage_paper": 1, "auroc": 0.5}
