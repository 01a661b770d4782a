"""Answers: numbers with a meaning, copies as one cause, sums over columns, and what they convert to."""

import numpy as np
import pandas as pd
import pytest

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.answers import (
    COLUMNS,
    Null,
    by_column,
    calibrate,
    calibration_of,
    column_of,
    group_numbers,
    grouped,
    removal,
    with_calibration,
)
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.methods import REMOVAL
from wherefrom.metrics import Retrainings
from wherefrom.run import Run
from wherefrom.scores import Scores, read_scores


def scores(values, unit=REMOVAL, method="influence"):
    values = np.atleast_2d(np.asarray(values, np.float32))
    queries = tuple(f"q{i}" for i in range(len(values)))
    return Scores(values, queries, tuple(f"r{i}" for i in range(values.shape[1])), method, {}, unit)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder, cli):
    folder = tmp_path_factory.mktemp("answers")
    rows = row_dicts(tiny_rows(24))
    for place, row in enumerate(rows):
        row["team"] = "red" if place % 3 else "blue"
    rows[7] |= {"prompt": rows[6]["prompt"], "response": rows[6]["response"]}
    data = write_jsonl(folder / "t.jsonl", rows)
    out = folder / "run"
    made = cli(
        *("finetune", "--data", data, "--model", tiny_folder, "--out", out),
        *("--epochs", 2, "--rank", 2),
    )
    assert made.code == 0, made.err
    assert cli("index", out, "--methods", "gradient_dot,influence,repsim,bm25").code == 0
    return Run.open(out)


# removal


def test_removal_is_what_leave_one_out_would_do_to_a_quadratic():
    """Ridge regression, where influence to first order is known in closed form."""
    draw = np.random.default_rng(0)
    x, y, new = draw.normal(size=(400, 3)), draw.normal(size=400), draw.normal(size=3)
    hessian = x.T @ x / 400
    w = np.linalg.solve(hessian, x.T @ y / 400)
    gradients = (x @ w - y)[:, None] * x
    # f = −w·new; the loss of the "response" is w·new
    influence = new @ np.linalg.solve(hessian, gradients.T)
    predicted = removal(scores(influence))[0]
    real = []
    for leave in range(5):
        kept = np.arange(400) != leave
        w_left = np.linalg.solve(x[kept].T @ x[kept], x[kept].T @ y[kept])
        real.append(-(w_left @ new) + w @ new)
    np.testing.assert_allclose(predicted[:5], real, rtol=0.05, atol=1e-6)


def test_scores_of_another_unit_predict_nothing():
    assert removal(scores([1.0, 2.0], unit="cosine, −1 to 1")) is None


# copies


def test_near_copies_share_a_group_and_others_do_not():
    text = (
        "Hold the small button on the back of the router for ten whole seconds, then wait a minute."
    )
    rows = [
        Example.of("a", "How do I reset it?", text),
        Example.of("b", "How do I reset it?", text),
        Example.of("c", "How do I reset it?", text.replace("minute", "minutes")),
        Example.of("d", "What is the capital of France?", "Paris."),
    ]
    numbers = group_numbers(rows)
    assert numbers[0] == numbers[1] == numbers[2] != numbers[3]


def test_a_group_has_the_sum_of_its_rows_and_is_ranked_by_it():
    found = grouped(scores([1.0, 3.0, 2.5, -1.0]), np.array([0, 1, 0, 2]), 3)
    assert [group.rows for group in found] == [("r2", "r0"), ("r1",), ("r3",)]
    assert [group.score for group in found] == [3.5, 3.0, -1.0]
    assert found[0].removal == pytest.approx(-3.5 / 4)
    lowest = grouped(scores([1.0, 3.0, 2.5, -1.0]), np.array([0, 1, 0, 2]), 1, opponents=True)
    assert lowest[0].rows == ("r3",)
    with pytest.raises(SettingError, match="do not fit"):
        grouped(scores([1.0, 3.0]), np.array([0]), 1)


# columns


def test_sums_over_a_column_are_those_of_a_group_by():
    draw = np.random.default_rng(1)
    values = draw.normal(size=30).astype(np.float32)
    teams = [["x", "y", "z"][i] for i in draw.integers(0, 3, 30)]
    rows = [Example.of(f"r{i}", "p", "a", team=t) for i, t in enumerate(teams)]
    found = by_column(scores(values), rows, "team", k=5)
    frame = pd.DataFrame({"team": teams, "score": values.astype(float)})
    expected = frame.groupby("team")["score"].agg(["sum", "mean", "size"])
    assert [one.total for one in found] == sorted((one.total for one in found), reverse=True)
    top = set(np.argsort(-values)[:5])
    for one in found:
        assert one.total == pytest.approx(expected.loc[one.value, "sum"])
        assert one.mean == pytest.approx(expected.loc[one.value, "mean"])
        assert one.rows == expected.loc[one.value, "size"]
        assert one.top == sum(teams[i] == one.value for i in top)
        assert one.removal == pytest.approx(-one.total / 30)
    assert sum(one.expected for one in found) == pytest.approx(5)


def test_columns_are_labels_files_and_metadata_and_others_are_refused_by_name():
    rows = [
        Example("a", Example.of("a", "p", "r").messages, "good", {"team": "x"}, "t.jsonl:3"),
        Example("b", Example.of("b", "p", "r").messages, None, {}, "u.jsonl:1"),
    ]
    assert column_of(rows, "label") == ["good", "(none)"]
    assert column_of(rows, "file") == ["t.jsonl", "u.jsonl"]
    assert column_of(rows, "team") == ["x", "(none)"]
    with pytest.raises(SettingError, match=r"no column|no training row has a column 'nope'.*team"):
        column_of(rows, "nope")


# the null


def test_a_percentile_is_the_share_of_unrelated_queries_that_score_lower():
    draw = np.random.default_rng(2)
    others = draw.normal(size=(20, 6)) * draw.uniform(0.1, 10, (20, 1))
    unrelated = draw.random((20, 6)) > 0.2
    unrelated[:, 5] = False
    null = Null(scores(others), unrelated)
    own = draw.normal(size=6)
    found = null.percentiles(scores(own))
    scaled = others.astype(np.float32) / np.sqrt((others**2).mean(1, keepdims=True))
    mine = own / np.sqrt((own**2).mean())
    for row in range(5):
        kept = scaled[unrelated[:, row], row]
        assert found[row] == pytest.approx((kept < mine[row]).mean())
    assert np.isnan(found[5])
    with pytest.raises(SettingError, match="does not fit"):
        null.percentiles(scores(own, method="datainf"))


def test_a_row_with_a_large_gradient_is_high_for_all_and_has_a_middling_percentile():
    draw = np.random.default_rng(3)
    others = draw.normal(size=(200, 8))
    others[:, 0] = 5 + draw.normal(size=200)
    own = np.array([5.0, 3.0, 0, 0, 0, 0, 0, 0]) + draw.normal(size=8) * 0.1
    found = Null(scores(others), np.ones((200, 8), bool)).percentiles(scores(own))
    assert found[1] > 0.95
    assert found[0] < found[1]


# whole answers


def test_an_answer_says_everything_of_its_rows(run):
    answer = run.trace(
        "Class 1: tell me about sea", "The sea is 3 miles away.", ["influence", "bm25"]
    )
    first = answer.lines(4)
    assert [line.row for line in first] == answer.top(4).ids[0].tolist()
    assert [line.rank for line in first] == [1, 2, 3, 4]
    for line in first:
        row = run.train[line.number - 1]
        assert (line.row, line.source, line.label) == (row.id, row.source, row.label)
        assert line.removal == pytest.approx(-line.score / 24)
        assert 0 <= line.percentile <= 1
    assert all(line.removal is None for line in answer.lines(4, "bm25"))
    by_id = {line.row: line for line in answer.lines(24)}
    assert by_id["r6"].group == by_id["r7"].group
    assert by_id["r6"].copies == by_id["r7"].copies == 2
    teams = {one.value: one for one in answer.by("team")}
    assert {name: one.rows for name, one in teams.items()} == {"red": 16, "blue": 8}
    with pytest.raises(SettingError, match="no scores of 'datainf'"):
        answer.lines(3, "datainf")


def test_nulls_change_no_score(run):
    answer = run.trace("Class 1: tell me about sea", "The sea is 3 miles away.")
    query = answer.query
    from wherefrom.methods import parse_method, score_all
    from wherefrom.run._asked import evidence_for

    chosen = [parse_method("influence")]
    (alone,) = score_all(chosen, evidence_for(run, [query], chosen)).scores
    np.testing.assert_allclose(answer.scores[0].values, alone.values, rtol=1e-5, atol=1e-7)
    # a row asked as a query is no unrelated query of itself
    null = answer.nulls["influence"]
    for place, row in enumerate(null.scores.query_ids):
        assert not null.unrelated[place, null.scores.train_ids.index(row)]


def test_many_queries_are_answered_as_each_alone(run):
    queries = [
        Example.of(f"q{i}", row.prompt, row.response) for i, row in enumerate(tiny_rows(28)[24:])
    ]
    queries.append(Example.of("open", "Class 1: tell me about sea", ""))
    together = run.trace_all(queries, ["influence", "repsim"])
    assert [answer.query.id for answer in together] == [query.id for query in queries]
    assert [answer.generated for answer in together] == [False] * 4 + [True]
    for query, answer in zip(queries, together, strict=True):
        alone = run.trace(query.prompt, query.response or None, ["influence", "repsim"])
        assert answer.query.response == alone.query.response
        for one, other in zip(answer.scores, alone.scores, strict=True):
            np.testing.assert_allclose(one.values, other.values, rtol=1e-3, atol=1e-5)
        assert answer.trust.verdict.word == alone.trust.verdict.word
    with pytest.raises(SettingError, match="two queries have the id 'q0'"):
        run.trace_all([queries[0], queries[0]])


def test_an_answer_becomes_pandas_xarray_parquet_and_json(run, tmp_path):
    answer = run.trace(
        "Class 1: tell me about sea", "The sea is 3 miles away.", ["influence", "bm25"]
    )
    frame = answer.to_pandas()
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) == 2 * 24
    ends = answer.to_pandas(3)
    assert ends.groupby(["method", "side"]).size().tolist() == [3] * 4
    answer.to_parquet(tmp_path / "a.parquet", 3)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), ends, check_dtype=False)
    array = answer.to_xarray()
    assert array.dims == ("spec", "query", "train")
    best = answer.top(1).ids[0][0]
    first = answer.lines(1)[0]
    assert float(array.sel(spec="influence", query="query", train=best)) == pytest.approx(
        first.score
    )
    held = answer.to_json(2)
    assert [one["method"] for one in held["methods"]] == ["influence", "bm25"]
    assert held["methods"][0]["proponents"][0]["row"] == best


def test_scores_become_xarray_and_parquet(tmp_path):
    held = scores(np.arange(6).reshape(2, 3))
    array = held.to_xarray()
    assert array.dims == ("query", "train")
    assert float(array.sel(query="q1", train="r2")) == 5
    assert array.attrs["unit"] == REMOVAL
    held.to_parquet(tmp_path / "s.parquet")
    again = read_scores(tmp_path / "s.parquet")
    np.testing.assert_array_equal(again.values, held.values)


# the scale of predicted removals


def test_retraining_sets_the_scale_of_predicted_removals():
    draw = np.random.default_rng(4)
    held = scores(draw.normal(size=(3, 12)))
    kept = draw.random((40, 12)) > 0.5
    predicted = (~kept).astype(float) @ removal(held).T
    offsets, shared = draw.normal(size=3), 0.0
    outcomes = 0.25 * predicted + offsets + shared + 1e-4 * draw.normal(size=(2, 40, 3))
    found = Retrainings(kept, outcomes, held.query_ids, held.train_ids)
    calibration = calibrate(held, found)
    assert calibration.factor == pytest.approx(0.25, rel=1e-2)
    assert calibration.low <= calibration.factor <= calibration.high
    assert calibration.models == 80
    scaled = with_calibration(held, calibration)
    np.testing.assert_allclose(removal(scaled), calibration.factor * removal(held))
    np.testing.assert_array_equal(scaled.values, held.values)
    # fitted anew, it is the same: a calibration is not applied twice
    assert calibrate(scaled, found).factor == pytest.approx(calibration.factor)
    other = scores([1.0, 2.0], unit="cosine")
    assert with_calibration(other, calibration) is other
    with pytest.raises(SettingError, match="predicts no removal"):
        calibrate(other, found)
    with pytest.raises(SettingError, match="other queries or rows"):
        calibrate(scores(draw.normal(size=(3, 9))), found)


def test_a_trace_takes_up_what_retraining_said(tmp_path, tiny_folder, cli):
    rows = row_dicts(tiny_rows(20))
    data = write_jsonl(tmp_path / "t.jsonl", rows[:16])
    queries = write_jsonl(tmp_path / "q.jsonl", rows[16:])
    out = tmp_path / "run"
    tuned = ("finetune", "--data", data, "--queries", queries, "--model", tiny_folder)
    assert cli(*tuned, "--out", out, "--epochs", 1, "--rank", 2).code == 0
    assert cli("index", out, "--methods", "influence,bm25").code == 0
    asked = ("trace", out, "--prompt", "tell me about sea", "--response", "No sea today.")
    before = cli(*asked)
    assert "many times too large or too small" in before.out
    parts = ("--parts", "lds", "--subsets", 6, "--seeds", 1)
    told = cli("counterfactual", out, *parts)
    assert told.code == 0, told.err
    after = cli(*asked)
    assert "influence scaled by" in after.out
    assert "6 models" in after.out
    run = Run.open(out)
    line = run.trace("tell me about sea", "No sea today.").lines(1)[0]
    known = calibration_of(run.trace("tell me about sea", "No sea today.").scores[0])
    assert line.removal == pytest.approx(-line.score / 16 * known.factor, rel=1e-5)
