"""The ends of many queries' rankings, streamed: the same rows as dense scores have there."""

import json

import numpy as np
import pytest

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.run import Run
from wherefrom.scores import read_top

METHODS = ["gradient_dot", "gradient_cosine", "influence(project=4)"]


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder, cli):
    folder = tmp_path_factory.mktemp("top")
    rows = tiny_rows(30)
    data = write_jsonl(folder / "t.jsonl", row_dicts(rows[:24]))
    queries = write_jsonl(folder / "q.jsonl", row_dicts(rows[24:]))
    about = ["--data", data, "--queries", queries, "--model", tiny_folder]
    made = cli("index", folder / "run", *about, "--methods", "; ".join(METHODS).replace("; ", ","))
    assert made.code == 0, made.err
    return folder / "run"


def test_the_ends_are_those_of_dense_scores(run):
    opened = Run.open(run)
    dense = opened.score()
    for top in opened.top(4, METHODS):
        scores = dense["sound-1", top.method]
        for ranked, opponents in ((top.proponents, False), (top.opponents, True)):
            expected = scores.top(4, opponents=opponents)
            np.testing.assert_array_equal(ranked.indices, expected.indices)
            np.testing.assert_allclose(ranked.values, expected.values, rtol=1e-4, atol=1e-6)


def test_many_questions_are_asked_from_a_file(run, cli, tmp_path):
    questions = write_jsonl(tmp_path / "q.jsonl", row_dicts(tiny_rows(33)[30:]))
    asked = ["trace", run, "--queries", questions, "--top", 3, "--methods", ",".join(METHODS[:2])]
    told = cli(*asked, "--format", "json")
    assert told.code == 0, told.err
    lines = json.loads(told.out)
    assert len(lines) == 2 * 3 * 2 * 3
    one = tiny_rows(33)[31]
    alone = Run.open(run).trace(one.prompt, one.response, ["gradient_dot"]).scores[0]
    first = [
        (line["row"], line["score"])
        for line in lines
        if (line["method"], line["query"], line["side"]) == ("gradient_dot", one.id, "proponent")
    ]
    expected = alone.top(3)
    assert [row for row, _ in first] == [alone.train_ids[i] for i in expected.indices[0]]
    np.testing.assert_allclose([value for _, value in first], expected.values[0], rtol=1e-4)

    written = cli(*asked, "--out", tmp_path / "top")
    assert written.code == 0, written.err
    held = read_top(tmp_path / "top" / "gradient_dot.parquet")
    assert held.proponents.ids[1].tolist() == [row for row, _ in first]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ([], "one of --prompt, --queries and --bad"),
        (["--prompt", "a", "--queries", "q.jsonl"], "one of --prompt, --queries and --bad"),
    ],
)
def test_one_kind_of_question_is_given(run, cli, options, why):
    found = cli("trace", run, *options)
    assert found.code == 2
    assert why in found.err


def test_methods_that_cannot_stream_are_refused(run, cli, tmp_path):
    questions = write_jsonl(tmp_path / "q.jsonl", row_dicts(tiny_rows(3)))
    asked = ("trace", run, "--queries", questions, "--methods", "bm25")
    found = cli(*asked, "--out", tmp_path / "top")
    assert found.code == 2
    assert "bm25 cannot score rows that pass by" in found.err
    assert cli(*asked).code == 0
