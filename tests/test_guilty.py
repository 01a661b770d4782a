"""One ranked list of rows for a set of bad answers, against plain loops and on a run with planted rows."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from planted import PLANTED
from tiny import tiny_rows
from wherefrom.answers import Guilt, group_numbers
from wherefrom.data import Example, read_examples
from wherefrom.errors import IdentityError, SettingError
from wherefrom.methods import REMOVAL
from wherefrom.run import Run, guilty, guilty_by
from wherefrom.scores import Scores, tiebreaks


def scores(values, unit=REMOVAL, method="influence", query="q"):
    values = np.atleast_2d(np.asarray(values, np.float32))
    queries = tuple(f"{query}{i}" for i in range(len(values)))
    return Scores(values, queries, tuple(f"r{i}" for i in range(values.shape[1])), method, {}, unit)


def rows(n):
    return tuple(
        Example.of(f"r{i}", f"{'abcdefghijklmnopqrstuvwxyz'[i % 26] * 9} {i * 7919}", f"{i}" * 9)
        for i in range(n)
    )


def drawn(bad=5, good=4, n=12, seed=0):
    draw = np.random.default_rng(seed)
    sizes = draw.uniform(0.01, 50, (bad + good, 1))
    held = (draw.normal(size=(bad + good, n)) * sizes).astype(np.float32)
    return held[:bad], held[bad:]


# The number


def by_loops(bad, good):
    """Guilt as the words say it."""

    def mean_in_units(matrix, column):
        total = 0.0
        for line in matrix:
            size = math.sqrt(sum(float(v) ** 2 for v in line) / len(line))
            total += float(line[column]) / size if size else 0.0
        return total / len(matrix)

    columns = range(len(bad[0]))
    return [mean_in_units(bad, c) - (mean_in_units(good, c) if len(good) else 0.0) for c in columns]


def test_guilt_is_the_mean_in_each_querys_own_units_less_that_of_good_ones():
    bad, good = drawn()
    found = Guilt(scores(bad), scores(good), rows(12))
    np.testing.assert_allclose(found.values, by_loops(bad, good), rtol=1e-9)
    alone = Guilt(scores(bad), None, rows(12))
    np.testing.assert_allclose(alone.values, by_loops(bad, []), rtol=1e-9)
    line = found.lines(1)[0]
    assert line.guilt == pytest.approx(line.bad - line.good)
    assert line.guilt == max(found.values)
    assert line.row == f"r{int(np.argmax(found.values))}"
    assert line.number == int(np.argmax(found.values)) + 1
    assert alone.lines(1)[0].good is None


def test_a_loud_query_does_not_outvote_the_others():
    bad = np.array([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 1000.0, 0, 0]])
    found = Guilt(scores(bad), None, rows(4))
    assert [line.row for line in found.lines(2)] == ["r0", "r1"]
    assert found.values[0] == pytest.approx(2 * found.values[1])


def test_a_row_that_pushes_towards_everything_is_not_guilty():
    bad, good = np.tile([5.0, 1, -1, 0], (3, 1)), np.tile([5.0, -1, 1, 0], (3, 1))
    found = Guilt(scores(bad), scores(good), rows(4))
    assert found.lines(1)[0].row == "r1"
    assert abs(found.values[0]) < 1e-9
    assert found.guilty(4, by_group=False) == [[1]]


def test_a_query_whose_scores_are_all_zero_counts_and_adds_nothing():
    bad = np.array([[0.0, 0, 0], [1.0, 2, 3]])
    found = Guilt(scores(bad), None, rows(3))
    np.testing.assert_allclose(found.values, np.array([1, 2, 3]) / math.sqrt(14 / 3) / 2)


def test_removal_is_the_mean_over_the_answers_and_adds_up():
    bad, good = drawn()
    found = Guilt(scores(bad), scores(good), rows(12))
    for line in found.lines(None):
        column = line.number - 1
        lost = -sum(float(b[column]) for b in bad) / len(bad) / 12
        assert line.removal_bad == pytest.approx(lost)
        kept = -sum(float(g[column]) for g in good) / len(good) / 12
        assert line.removal_good == pytest.approx(kept)
    both = found.predicted([2, 5])
    by_row = {line.number: line for line in found.lines(None)}
    assert both[0] == pytest.approx(by_row[3].removal_bad + by_row[6].removal_bad)
    none = Guilt(scores(bad, unit="cosine"), scores(good, unit="cosine"), rows(12))
    assert none.lines(1)[0].removal_bad is None
    assert none.predicted([1]) == (None, None)


def test_hits_count_the_bad_answers_that_rank_the_row_among_their_first():
    bad, _ = drawn(bad=6)
    found = Guilt(scores(bad), None, rows(12), k=3)
    for line in found.lines(None):
        expected = sum((line.number - 1) in np.argsort(-b)[:3] for b in bad)
        assert line.hits == expected


# Intervals


def test_the_interval_is_as_wide_as_the_spread_over_queries_says():
    draw = np.random.default_rng(3)
    # root mean squares of 200 rows hardly differ, so that scores in their units are nearly the scores
    bad = draw.normal(0.2, 1.0, (60, 200))
    found = Guilt(scores(bad), None, rows(200))
    units = bad / np.sqrt((bad**2).mean(1, keepdims=True))
    wide = 2 * 1.96 * units.std(0) / np.sqrt(60)
    lines = sorted(found.lines(None), key=lambda line: line.number)
    widths = np.array([line.high - line.low for line in lines])
    assert np.median(widths / wide) == pytest.approx(1.0, abs=0.05)
    assert all(line.low < line.guilt < line.high for line in lines)


def test_one_bad_answer_has_no_interval_and_equal_ones_have_none_to_speak_of():
    bad, good = drawn(bad=1, good=1)
    line = Guilt(scores(bad), scores(good), rows(12)).lines(1)[0]
    assert line.low is line.high is None
    same = Guilt(scores(np.tile(bad, (4, 1))), None, rows(12)).lines(1)[0]
    assert same.low == pytest.approx(same.guilt)
    assert same.high == pytest.approx(same.guilt)


def test_good_answers_widen_the_interval():
    bad, good = drawn(bad=5, good=5)
    alone, held = Guilt(scores(bad), None, rows(12)), Guilt(scores(bad), scores(good), rows(12))
    width = [sum(line.high - line.low for line in one.lines(None)) / 12 for one in (alone, held)]
    assert width[1] > width[0]


def test_nothing_depends_on_the_order_of_queries_or_of_rows():
    bad, good = drawn()
    train = rows(12)
    first = Guilt(scores(bad), scores(good), train)
    turn, other = np.random.default_rng(1).permutation(12), [3, 1, 0, 4, 2]
    turned = Scores(
        bad[other][:, turn],
        tuple(f"q{i}" for i in other),
        tuple(f"r{i}" for i in turn),
        "influence",
        {},
        REMOVAL,
    )
    held = Scores(good[:, turn], scores(good).query_ids, turned.train_ids, "influence", {}, REMOVAL)
    second = Guilt(turned, held, tuple(train[i] for i in turn))
    for one, two in zip(first.lines(None), second.lines(None), strict=True):
        assert (one.row, one.rank, one.hits) == (two.row, two.rank, two.hits)
        assert (one.guilt, one.low, one.high) == pytest.approx((two.guilt, two.low, two.high))


def test_ties_are_broken_by_a_digest_of_the_id():
    found = Guilt(scores(np.ones((2, 12))), None, rows(12))
    keys = tiebreaks([f"r{i}" for i in range(12)])
    assert found.order.tolist() == np.argsort(keys, kind="stable").tolist()


# Groups


def copied(n=8):
    train = list(rows(n))
    train[5] = Example("r5", train[2].messages)
    train[6] = Example("r6", train[2].messages)
    return tuple(train)


def test_copies_are_one_cause_with_the_sum_of_their_guilt():
    bad = np.array([[0, 5.0, 3, 0, 0, 2, 1, -4], [0, 4.0, 3, 1, 0, 2, 1, -4]])
    train = copied()
    assert group_numbers(train)[2] == group_numbers(train)[5] == group_numbers(train)[6]
    found = Guilt(scores(bad), None, train)
    first, second = found.groups(2)
    assert first.rows == ("r2", "r5", "r6")
    assert second.rows == ("r1",)
    assert first.guilt == pytest.approx(found.values[[2, 5, 6]].sum())
    assert first.removal_bad == pytest.approx(-(3 + 2 + 1) / 8)
    assert first.low <= first.guilt <= first.high
    assert [line.copies for line in found.lines(2)] == [1, 3]
    assert found.guilty(1) == [[2, 5, 6]]
    assert found.guilty(1, by_group=False) == [[1]]
    # what is not guilty stays, however many are asked for
    assert found.guilty(99)[-1] == [3]
    assert [0] not in found.guilty(99)


# What does not go together


def test_what_does_not_go_together_is_refused():
    bad, good = drawn()
    with pytest.raises(SettingError, match="no bad answer"):
        Guilt(scores(np.zeros((0, 12))), None, rows(12))
    with pytest.raises(IdentityError, match="other training rows"):
        Guilt(scores(bad), None, rows(11))
    with pytest.raises(IdentityError, match="use one method"):
        Guilt(scores(bad), scores(good, method="datainf"), rows(12))
    with pytest.raises(SettingError, match="at least 1"):
        Guilt(scores(bad), None, rows(12), k=0)
    with pytest.raises(SettingError, match="at least 1"):
        Guilt(scores(bad), None, rows(12)).guilty(0)


def test_it_converts_to_pandas_and_json():
    bad, good = drawn()
    found = Guilt(scores(bad), scores(good), rows(12))
    frame = found.to_pandas()
    assert frame["rank"].tolist() == list(range(1, 13))
    assert frame["guilt"].is_monotonic_decreasing
    held = json.loads(json.dumps(found.to_json(3)))
    assert [row["row"] for row in held["rows"]] == frame["row"][:3].tolist()
    assert held["good"] == ["q0", "q1", "q2", "q3"]


# On a run


def test_planted_rows_are_behind_the_bad_answers(planted):
    run = Run.open(planted.run)
    bad, good = read_examples(planted.bad), read_examples(planted.good)
    # both files have the same ids, which do not get into each other's way
    assert [q.id for q in bad] == [q.id for q in good]
    found = guilty(run, bad, good)
    assert {line.row for line in found.lines(4)} == set(PLANTED)
    assert found.bad.query_ids == found.good.query_ids == ("q0", "q1", "q2")
    assert all(line.removal_bad < 0 for line in found.lines(4))
    each = [run.trace(q.prompt, q.response) for q in (*bad, *good)]
    expected = np.concatenate([answer.scores[0].values for answer in each])
    np.testing.assert_allclose(found.bad.values, expected[:3], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.good.values, expected[3:], rtol=1e-3, atol=1e-4)


def test_several_methods_share_one_pass_and_each_has_a_list(planted):
    run = Run.open(planted.run)
    bad = read_examples(planted.bad)
    found = guilty_by(run, ["influence", "bm25"], bad)
    assert [one.method for one in found] == ["influence", "bm25"]
    assert all({line.row for line in one.lines(4)} == set(PLANTED) for one in found)
    assert found[1].lines(1)[0].removal_bad is None


def test_a_set_is_refused_that_cannot_be_meant(planted):
    run = Run.open(planted.run)
    bad = read_examples(planted.bad)
    with pytest.raises(SettingError, match="no bad answer"):
        guilty(run, [], bad)
    with pytest.raises(SettingError, match=r"is bad \(bad.jsonl:1\) and good"):
        guilty(run, bad, bad[:1], "bm25")
    with pytest.raises(SettingError, match="two bad answers have the id"):
        guilty(run, [bad[0], bad[0]], method="bm25")
    with pytest.raises(SettingError, match="no method is called"):
        guilty(run, bad, method="inflluence")


def test_where_no_answer_is_given_the_model_is_asked(planted):
    run = Run.open(planted.run)
    open_ = [query.with_response("") for query in read_examples(planted.bad)]
    found = guilty(run, open_, max_new_tokens=8)
    assert {line.row for line in found.lines(4)} == set(PLANTED)


# The command


def trace(cli, planted, *more):
    return cli("trace", planted.run, "--bad", planted.bad, "--good", planted.good, *more)


def test_the_command_prints_the_list_in_every_form(cli, planted, tmp_path):
    table = trace(cli, planted, "--top", 4)
    assert table.code == 0, table.err
    assert "behind 3 bad answers, by influence, against 3 good ones" in table.out
    assert all(name in table.out for name in PLANTED)
    assert "3/3" in table.out
    held = json.loads(trace(cli, planted, "--top", 4, "--format", "json").out)
    wanted = [row["row"] for row in held[0]["rows"]]
    assert set(wanted) == set(PLANTED)
    told = trace(cli, planted, "--top", 4, "--out", tmp_path / "guilty.csv")
    assert told.code == 0, told.err
    frame = pd.read_csv(tmp_path / "guilty.csv")
    assert frame["row"].tolist() == wanted
    assert frame["guilt"].tolist() == pytest.approx([row["guilt"] for row in held[0]["rows"]])
    markdown = trace(cli, planted, "--top", 2, "--format", "md").out.splitlines()
    assert markdown[0].startswith("| method | rank | guilt |")
    assert len(markdown) == 4


def test_hostile_text_stays_text(planted, capsys):
    from wherefrom.cli._options import Format
    from wherefrom.cli._print_guilty import print_guilty

    evil = "\x1b[2J\u202e<script>"
    train = tuple(
        Example(f"{evil}{i}", row.messages, evil, {}, f"{evil}:1")
        for i, row in enumerate(tiny_rows(4))
    )
    train = (*train[:3], Example(f"{evil}3", Example.of("x", evil, evil).messages))
    ids = tuple(row.id for row in train)
    bad = Scores(np.array([[1.0, 2, 3, 4]]), (evil,), ids, f"influence{evil}", {}, REMOVAL)
    found = Guilt(bad, None, train)
    for form in (Format.table, Format.md):
        print_guilty([found], 4, form)
        out = capsys.readouterr().out
        assert "\ufffd" in out
        assert not {"\x1b", "\u202e"} & set(out)
    print_guilty([found], 4, Format.json)
    out = capsys.readouterr().out
    assert json.loads(out)[0]["rows"][0]["row"] == f"{evil}3"
    assert not {"\x1b", "\u202e"} & set(out)
