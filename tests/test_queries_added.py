"""Queries that are added to a run later: training signals stay, scores are those of one run with all."""

import numpy as np
import pytest

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.run import Run

METHODS = "gradient_dot,influence,repsim,bm25,contrastive"


def contents(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def rows_of(tmp_path, name, rows, ids=True):
    found = row_dicts(rows)
    if not ids:
        for row in found:
            row.pop("id")
    return write_jsonl(tmp_path / name, found)


@pytest.fixture
def data(tmp_path):
    rows = tiny_rows(34)
    parts = {"train": rows[:24], "first": rows[24:28], "later": rows[28:], "all": rows[24:]}
    return {name: rows_of(tmp_path, f"{name}.jsonl", part) for name, part in parts.items()}


def test_queries_added_later_leave_training_signals_alone(tmp_path, tiny_folder, cli, data):
    def make(run, queries):
        options = ["--data", data["train"], "--queries", data[queries], "--model", tiny_folder]
        made = cli("index", tmp_path / run, *options, "--methods", METHODS)
        assert made.code == 0, made.err

    make("grown", "first")
    grown = tmp_path / "grown"
    Run.open(grown).score()
    before = contents(grown / "signals")
    found = cli("index", grown, "--queries", data["later"])
    assert found.code == 0, found.err
    assert "queries: 6 added, 10 in all" in found.err
    now = contents(grown / "signals")
    assert {path: now[path] for path in before} == before
    assert {
        path.parts[-3] for path in now.keys() - before.keys() if "zarr" in path.parent.name
    } <= {
        "queries-002",
        "references-002",
    }
    make("whole", "all")
    one, other = Run.open(grown).score(), Run.open(tmp_path / "whole").score()
    assert one.keys() == other.keys()
    for key, scores in one.items():
        assert scores.query_ids == other[key].query_ids
        np.testing.assert_allclose(scores.values, other[key].values, rtol=1e-4, atol=1e-6)

    again = cli("index", grown, "--queries", data["later"])
    assert "queries: 0 added, 10 in all" in again.err
    assert contents(grown / "signals") == now


def test_an_id_of_another_query_is_refused_and_a_counted_one_gets_its_batch(
    tmp_path, tiny_folder, cli, data
):
    run = tmp_path / "run"
    options = ["--data", data["train"], "--queries", data["first"], "--model", tiny_folder]
    assert cli("index", run, *options, "--methods", "gradient_dot").code == 0
    named = row_dicts(tiny_rows(28)[24:])
    for row in named:
        row["response"] += " again"
    clash = cli("index", run, "--queries", write_jsonl(tmp_path / "clash.jsonl", named))
    assert clash.code == 2
    assert "is another query's" in clash.err
    for row in named:
        row.pop("id")
    for start in (0, 2):
        more = write_jsonl(tmp_path / f"more-{start}.jsonl", named[start : start + 2])
        assert cli("index", run, "--queries", more).code == 0
    ids = [query.id for query in Run.open(run).queries]
    assert ids[4:] == [
        "row-000001",
        "row-000002",
        "queries-003/row-000001",
        "queries-003/row-000002",
    ]
    assert len(set(ids)) == len(ids)
    (run / "data" / "queries-002.jsonl").write_text("")
    broken = cli("index", run)
    assert broken.code == 2
    assert "queries-002.jsonl was changed" in broken.err


def test_a_task_keeps_its_own_queries(tmp_path, tiny_folder, cli, data):
    options = ["--methods", "bm25", "--model", tiny_folder, "--limit", 2, "--epochs", 1]
    made = cli("study", "grammars", "--out", tmp_path / "study", *options)
    assert made.code == 0, made.err
    (run,) = (path.parent for path in (tmp_path / "study").glob("*/run.yaml"))
    found = cli("index", run, "--queries", data["later"])
    assert found.code == 2
    assert "whose queries are its own" in found.err
