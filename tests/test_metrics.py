"""Each metric against an independent oracle, and what must not change it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from tiny import Plugin
from wherefrom import registry
from wherefrom.errors import IdentityError, SettingError
from wherefrom.metrics import Truth, find_metric, list_metrics, metric, metric_at, per_query
from wherefrom.metrics import _metric as metrics
from wherefrom.scores import Scores

NAMES = [
    "accuracy", "coverage", "coverage_paper", "average_precision", "auroc", "mrr", "recall@1",
    "recall@5", "recall@10",
]  # fmt: skip


def scores_of(values, train_ids=None, query_ids=None, method="m"):
    values = np.atleast_2d(np.asarray(values, dtype=np.float32))
    queries, n = values.shape
    return Scores(
        values,
        tuple(query_ids or (f"q{i}" for i in range(queries))),
        tuple(train_ids or (f"t{i}" for i in range(n))),
        method,
    )


def truth_of(relevance, n_classes=2, **ids):
    return Truth(np.atleast_2d(np.asarray(relevance, dtype=bool)), n_classes, **ids)


@st.composite
def judged(draw, distinct=False):
    queries, n = draw(st.integers(1, 4)), draw(st.integers(2, 12))
    seed = draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    if distinct:
        values = np.stack([rng.permutation(n) for _ in range(queries)])
    else:
        values = rng.integers(-3, 4, size=(queries, n))
    return values.astype(np.float32), rng.random((queries, n)) < 0.4


def test_hand_computed_values():
    scores = scores_of([5, 4, 3, 2, 1, 0])
    truth = truth_of([0, 1, 0, 1, 1, 0], n_classes=3)
    expected = {
        "accuracy": 0.0,
        "coverage": 1 / 3,
        "coverage_paper": 1 / 2,
        "average_precision": (1 / 2 + 2 / 4 + 3 / 5) / 3,
        "auroc": (2 + 1 + 1) / 9,
        "mrr": 1 / 2,
        "recall@1": 0.0,
        "recall@2": 1 / 3,
        "recall@4": 2 / 3,
        "recall@50": 1.0,
    }
    for name, value in expected.items():
        assert per_query(scores, truth, name) == pytest.approx([value]), name


@given(judged(distinct=True))
def test_average_precision_is_that_of_scikit_learn(case):
    values, relevance = case
    got = per_query(scores_of(values), truth_of(relevance), "average_precision")
    for value, row, relevant in zip(got, values, relevance, strict=True):
        if relevant.any():
            assert value == pytest.approx(average_precision_score(relevant, row))
        else:
            assert np.isnan(value)


@given(judged())
def test_auroc_is_that_of_scikit_learn_with_ties(case):
    values, relevance = case
    got = per_query(scores_of(values), truth_of(relevance), "auroc")
    for value, row, relevant in zip(got, values, relevance, strict=True):
        if 0 < relevant.sum() < len(relevant):
            assert value == pytest.approx(roc_auc_score(relevant, row))
        else:
            assert np.isnan(value)


@given(judged(distinct=True), st.integers(1, 5))
def test_ranked_metrics_against_loops(case, n_classes):
    values, relevance = case
    scores, truth = scores_of(values), truth_of(relevance, n_classes)
    got = {name: per_query(scores, truth, name) for name in NAMES}
    for query, (row, relevant) in enumerate(zip(values, relevance, strict=True)):
        order = sorted(range(len(row)), key=lambda place, row=row: -row[place])
        hits = [bool(relevant[place]) for place in order]
        size, c = sum(hits), len(row) // n_classes
        if not size:
            assert all(np.isnan(got[name][query]) for name in NAMES)
            continue
        assert got["accuracy"][query] == hits[0]
        assert got["coverage"][query] == pytest.approx(sum(hits[:size]) / size)
        if c:
            assert got["coverage_paper"][query] == pytest.approx(sum(hits[:c]) / c)
        else:
            assert np.isnan(got["coverage_paper"][query])
        assert got["mrr"][query] == pytest.approx(1 / (hits.index(True) + 1))
        for k in (1, 5, 10):
            assert got[f"recall@{k}"][query] == pytest.approx(sum(hits[:k]) / size)


@given(judged(), st.integers(0, 1000))
def test_order_of_the_training_rows_plays_no_part(case, seed):
    values, relevance = case
    ids = [f"t{i}" for i in range(values.shape[1])]
    order = np.random.default_rng(seed).permutation(len(ids))
    moved = scores_of(values[:, order], [ids[i] for i in order])
    for name in NAMES:
        np.testing.assert_allclose(
            per_query(moved, truth_of(relevance[:, order]), name),
            per_query(scores_of(values, ids), truth_of(relevance), name),
        )


@given(judged(), st.integers(-50, 50))
def test_a_constant_per_query_changes_nothing(case, constant):
    values, relevance = case
    shift = constant * np.arange(1, len(values) + 1)[:, None]
    for name in NAMES:
        np.testing.assert_allclose(
            per_query(scores_of(values + shift), truth_of(relevance), name),
            per_query(scores_of(values), truth_of(relevance), name),
        )


@given(judged())
def test_perfect_scores_give_one_and_reversed_ones_no_hit(case):
    _, relevance = case
    relevance[:, 0], relevance[:, 1] = True, False
    truth = truth_of(relevance)
    for name in NAMES:
        if name.startswith("recall"):
            reachable = np.minimum(int(name.partition("@")[2]) / relevance.sum(axis=1), 1)
            np.testing.assert_allclose(per_query(scores_of(relevance), truth, name), reachable)
        elif name != "coverage_paper":
            np.testing.assert_allclose(per_query(scores_of(relevance), truth, name), 1.0)
    assert not per_query(scores_of(~relevance), truth, "accuracy").any()
    assert not per_query(scores_of(~relevance), truth, "auroc").any()


def test_perfect_scores_give_one_by_the_papers_coverage_where_classes_are_even():
    relevance = np.arange(20)[None] % 4 == np.arange(4)[:, None]
    assert (
        per_query(scores_of(relevance), truth_of(relevance, 4), "coverage_paper").tolist()
        == [1.0] * 4
    )


def test_the_papers_coverage_is_capped_where_classes_are_not():
    relevance = np.arange(250)[None] < 20
    scores, truth = scores_of(relevance), truth_of(relevance, 2)
    assert per_query(scores, truth, "coverage_paper") == pytest.approx([0.16])
    assert per_query(scores, truth, "coverage") == pytest.approx([1.0])


def test_random_scores_separate_nothing():
    rng = np.random.default_rng(0)
    relevance = rng.random((200, 300)) < 0.1
    scores = scores_of(rng.normal(size=relevance.shape))
    assert np.nanmean(per_query(scores, truth_of(relevance), "auroc")) == pytest.approx(
        0.5, abs=0.02
    )


@pytest.mark.parametrize("name", ["accuracy", "coverage", "average_precision", "recall@10"])
def test_ties_do_not_favour_the_first_rows(name):
    n, trials = 40, 300
    first = np.arange(n)[None] < n // 4
    rng = np.random.default_rng(1)
    values = []
    for _ in range(trials):
        ids = [f"row-{i}" for i in rng.integers(2**40, size=n)]
        values.append(per_query(scores_of(np.zeros((1, n)), ids), truth_of(first), name)[0])
    # The first quarter is found as often as any quarter would be.
    assert np.mean(values) == pytest.approx(0.25, abs=0.08)


def test_all_ties_are_chance_for_auroc():
    assert per_query(scores_of([0, 0, 0]), truth_of([1, 0, 0]), "auroc").tolist() == [0.5]


def test_queries_without_any_relevant_row_are_undefined():
    scores, truth = scores_of([1, 2, 3]), truth_of([0, 0, 0])
    assert all(np.isnan(per_query(scores, truth, name)).all() for name in NAMES)


def test_more_classes_than_rows_leave_the_papers_coverage_undefined():
    assert np.isnan(per_query(scores_of([1, 2]), truth_of([1, 0], 3), "coverage_paper")).all()


def test_the_default_metrics_are_listed_with_a_description():
    found = list_metrics()
    assert set(found) == {
        "accuracy", "coverage", "coverage_paper", "average_precision", "mrr", "recall@10",
        "recall@50", "auroc", "filtering_auprc",
    }  # fmt: skip
    assert all(found.values())


@pytest.mark.parametrize("name", ["nothing", "recall", "recall@", "recall@0", "recall@x", "mrr@5"])
def test_unknown_metrics_are_refused_with_the_list(name):
    with pytest.raises(SettingError, match=r"accuracy.*auroc.*recall@K"):
        find_metric(name)


def test_a_name_can_be_taken_once():
    with pytest.raises(SettingError, match="two metrics are called 'accuracy'"):
        metric("accuracy")(find_metric("mrr"))
    with pytest.raises(SettingError, match="two metrics are called 'recall'"):
        metric_at("recall", 3)(lambda k: find_metric("mrr"))


def test_a_registered_metric_is_found(monkeypatch):
    monkeypatch.setattr(metrics._METRICS, "ours", dict(metrics._METRICS.ours))
    monkeypatch.setattr(metrics, "_DEFAULTS", dict(metrics._DEFAULTS))

    @metric("always_two")
    def always_two(scores, relevance, truth):
        """Two.

        More.
        """
        return np.full(len(relevance), 2.0)

    assert list_metrics()["always_two"] == "Two."
    assert per_query(scores_of([1, 2]), truth_of([1, 0]), "always_two").tolist() == [2.0]


def test_a_metric_of_the_wrong_shape_is_refused(monkeypatch):
    monkeypatch.setitem(metrics._METRICS.ours, "one_number", lambda s, r, t: np.float64(1))
    with pytest.raises(SettingError, match=r"one_number gave shape \(\) for 1 queries"):
        per_query(scores_of([1, 2]), truth_of([1, 0]), "one_number")


def test_metrics_of_other_packages_are_found_and_broken_ones_named(monkeypatch):
    def zero(scores, relevance, truth):
        """Nothing."""
        return np.zeros(len(relevance))

    plugins = [Plugin("zero", zero), Plugin("broken", ImportError("no torchx"))]
    monkeypatch.setattr(registry, "entry_points", lambda group: plugins)
    assert find_metric("zero") is zero
    assert list_metrics()["zero"] == "Nothing."
    assert "no torchx" in list_metrics()["broken"]
    with pytest.raises(SettingError, match="elsewhere:thing"):
        find_metric("broken")


@given(judged(), st.integers(0, 1000))
@settings(max_examples=30)
def test_named_truth_is_brought_into_the_order_of_the_scores(case, seed):
    values, relevance = case
    queries, n = values.shape
    query_ids, train_ids = [f"q{i}" for i in range(queries)], [f"t{i}" for i in range(n)]
    truth = truth_of(relevance, query_ids=tuple(query_ids), train_ids=tuple(train_ids))
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(queries), rng.permutation(n)
    moved = scores_of(
        values[np.ix_(rows, columns)], [train_ids[i] for i in columns], [query_ids[i] for i in rows]
    )
    for name in NAMES:
        np.testing.assert_allclose(
            per_query(moved, truth, name),
            per_query(scores_of(values, train_ids, query_ids), truth, name)[rows],
        )


def test_scores_of_other_rows_are_refused():
    truth = truth_of([[1, 0], [0, 1]], query_ids=("q0", "q1"), train_ids=("t0", "t1"))
    assert per_query(scores_of([[1, 0]], query_ids=["q1"]), truth, "accuracy").tolist() == [0.0]
    with pytest.raises(IdentityError, match="m has the query 'q7', the truth has not"):
        per_query(scores_of([[1, 0]], query_ids=["q7"]), truth, "accuracy")
    with pytest.raises(IdentityError, match="the truth has the training row 't1', m has not"):
        per_query(scores_of([[1], [0]]), truth, "accuracy")
    with pytest.raises(IdentityError, match="m has the training row 't2', the truth has not"):
        per_query(scores_of([[1, 0, 2], [0, 1, 2]]), truth, "accuracy")
    with pytest.raises(IdentityError, match="m has the query 'q0' twice"):
        per_query(scores_of([[1, 0], [1, 0]], query_ids=["q0", "q0"]), truth, "accuracy")


def test_nameless_truth_must_have_the_shape_of_the_scores():
    with pytest.raises(IdentityError, match=r"shape \(1, 2\), the truth has \(1, 3\)"):
        per_query(scores_of([1, 2]), truth_of([1, 0, 0]), "accuracy")


def test_a_truth_that_is_none_is_refused():
    with pytest.raises(SettingError, match="boolean matrix"):
        Truth(np.zeros((2, 2)), 2)
    with pytest.raises(SettingError, match="boolean matrix"):
        Truth(np.zeros(2, dtype=bool), 2)
    with pytest.raises(SettingError, match="n_classes is 0"):
        truth_of([1, 0], 0)
    with pytest.raises(SettingError, match="train_ids has 1 different ids for 2 rows"):
        truth_of([1, 0], train_ids=("a", "a"))
