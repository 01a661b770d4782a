"""Tables to take along, sums over groups, and tokens."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_report import Page, made
from wherefrom.answers import Token, TokenEvidence, by_column, group_numbers
from wherefrom.report import render_report
from wherefrom.report._downloads import Sheet, as_csv, as_json, downloads
from wherefrom.report._groups import Groups, columns_of, pooled
from wherefrom.report._token_view import MOST, token_view

RISKY = ("=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\n=1", "＝1", "－1")


def read(text):
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


@pytest.mark.parametrize("text", RISKY)
def test_no_text_is_a_formula(text):
    sheet = Sheet("s", "", (text,), ((text,),))
    assert [cell[0] for row in read(as_csv(sheet)) for cell in row] == ["'", "'"]
    assert json.loads(as_json(sheet))["data"] == [[text]]


@given(st.text(max_size=30), st.floats(allow_nan=True))
def test_a_table_keeps_its_shape_and_its_numbers(text, number):
    sheet = Sheet("s", "", ("words", "number"), ((text, number), ("a", None)))
    rows = read(as_csv(sheet))
    assert [len(row) for row in rows] == [2, 2, 2]
    held = json.loads(as_json(sheet))["data"][0][1]
    if np.isfinite(number):
        assert float(rows[1][1]) == held == number
    else:
        assert (rows[1][1], held) == ("", None)


def test_a_spreadsheet_and_pandas_can_read_it():
    sheet = Sheet("s", "", ("row", "score"), (("é", -1.5), ("b", 2.0)))
    csv_file, json_file = downloads(sheet)
    assert csv_file.file == "s.csv"
    assert csv_file.address.startswith("data:text/csv;charset=utf-8;base64,")
    frame = pd.read_csv(io.StringIO(as_csv(sheet).removeprefix("\ufeff")))
    again = pd.read_json(io.StringIO(as_json(sheet)), orient="split")
    pd.testing.assert_frame_equal(frame, again)
    assert json_file.kind == "JSON"
    assert downloads(replace(sheet, rows=())) == ()


def test_texts_are_cut_and_controls_taken_out():
    sheet = Sheet("s", "", ("row",), (("x" * 1_000_000,), ("\x1b[31m\u202e",)))
    assert len(as_csv(sheet)) < 400
    assert "\x1b" not in as_csv(sheet)
    assert json.loads(as_json(sheet))["data"][1] == ["\ufffd[31m\ufffd"]


def test_files_of_a_page_are_what_it_shows():
    data = made()
    files = Page.of(render_report(data)).files
    assert set(files) == {
        f"{name}.{ending}"
        for name in ("leaderboard", "rows", "groups")
        for ending in ("csv", "json")
    }
    rows = read(files["rows.csv"].decode())
    assert len(rows) == 1 + 6 * 3 * 8
    named = dict(zip(rows[0], rows[1], strict=True))
    top = data.scores["sound-1", "repsim"].top(1)
    assert named["row"] == top.ids[0, 0]
    assert named["number"] == str(top.indices[0, 0] + 1)
    assert named["source"] == f"train.jsonl:{top.indices[0, 0] + 1}"


def test_columns_are_those_that_rows_share():
    data = made()
    held = [
        {"origin": f"o{i % 3}", "own": i, "turns": [1], "same": 1} for i in range(len(data.train))
    ]
    train = [replace(row, metadata=m) for row, m in zip(data.train, held, strict=True)]
    assert columns_of(train) == ("label", "origin")
    two = [replace(row, source=f"{'ab'[i % 2]}.jsonl:{i}") for i, row in enumerate(train)]
    assert columns_of(two) == ("label", "file", "origin")
    assert columns_of([replace(row, label=None, metadata={}) for row in train]) == ()


def test_sums_are_means_over_queries_added_up():
    data = made()
    key = ("sound-1", "repsim")
    groups = Groups(data, [key], group_numbers(data.train))
    label = groups.views()[0]
    shares = by_column(pooled(data.scores[key]), data.train, "label")
    assert label.name == "label"
    assert [line.name for line in label.tables[0].lines] == [one.value for one in shares]
    mean = data.scores[key].values.mean(0)
    own = [row.label == shares[0].value for row in data.train]
    order = float(label.tables[0].lines[0].cells[1].order)
    assert order == pytest.approx(float(mean[own].sum()), rel=1e-5)


def test_a_query_has_sums_of_its_own():
    data = made()
    key = ("sound-1", "datainf")
    column, table = Groups(data, [], group_numbers(data.train)).of_query(key, 4)
    own = [row.label == table.lines[0].name for row in data.train]
    order = float(table.lines[0].cells[1].order)
    assert column == "label"
    assert order == pytest.approx(float(data.scores[key].values[4][own].sum()), rel=1e-5)
    assert render_report(data).count("Rows of query ") == 6


def test_near_duplicates_are_one_cause_and_their_lack_is_told():
    data = made()
    assert "No two of the 12 training rows are near-duplicates." in render_report(data)
    train = (*data.train[:-1], replace(data.train[-1], messages=data.train[0].messages))
    twins = replace(data, train=train)
    view = Groups(twins, [("sound-1", "repsim")], group_numbers(train)).views()[-1]
    (line,) = view.tables[0].lines
    assert line.name == "prompt 0"
    assert set(line.detail.split(", ")) == {"train-0", "train-11"}
    assert line.cells[0].text == "2"
    assert "1 near-copy" in render_report(twins)


def test_values_in_the_middle_are_left_out_by_number():
    data = made(classes=30, rows=2, queries=1)
    groups = Groups(data, [("sound-1", "repsim")], np.arange(60))
    table = groups.views()[0].tables[0]
    assert (len(table.lines), table.left_out) == (10, 20)
    sums = [float(line.cells[1].order) for line in table.lines]
    assert sums == sorted(sums, reverse=True)
    assert sum(row[3] == "label" for row in groups.sheet().rows) == 30


def taken_apart(values, **changes):
    tokens = tuple(Token(f"w{i}", value, True) for i, value in enumerate(values))
    total = sum(value or 0.0 for value in values)
    known = {"query": tokens, "train": tokens, "score": total, "missing": (0.0, 0.0)}
    return TokenEvidence(row="r", method="m", **{**known, **changes})


def test_marks_go_by_share_of_the_strongest_token():
    view = token_view(taken_apart([1.0, 0.5, -0.5, 0.01, None, -2.0]))
    kinds = [mark.kind for mark in view.sides[0].marks]
    assert kinds == ["p2", "p1", "m1", "zero", "none", "m4"]
    assert [mark.told for mark in view.sides[0].marks][:2] == ["+1.00", "+0.500"]
    assert view.sides[0].strongest == "“w5” −2.00, “w0” +1.00 and “w1” +0.500"
    assert view.note == ""


def test_a_long_row_keeps_its_strongest_tokens_and_sums_the_rest():
    values = [0.001] * 5000
    values[2500] = 3.0
    side = token_view(taken_apart(values)).sides[0]
    words = [mark for mark in side.marks if mark.kind != "gap"]
    assert len(words) <= MOST
    assert "w2500" in {mark.text for mark in words}
    gaps = [mark.text for mark in side.marks if mark.kind == "gap"]
    assert any("tokens, together +" in text for text in gaps)


def test_rounding_and_sides_that_are_missing_are_told():
    off = token_view(taken_apart([1.0, 1.0], missing=(0.5, 0.0)))
    assert off.note == "The tokens of the query add up to the score less +0.500."
    half = token_view(taken_apart([1.0], missing=(None, 0.0), why_not="no loss of its own"))
    assert [side.name for side in half.sides] == ["Training row"]
    assert half.note == "no loss of its own"
    zero = token_view(taken_apart([0.0, 0.0]))
    assert [mark.kind for mark in zero.sides[0].marks] == ["zero", "zero"]


def test_a_new_line_is_seen():
    token = (Token("\n", 1.0, True),)
    mark = token_view(taken_apart([1.0], query=token)).sides[0].marks[0]
    assert mark.text == "↵\n"
