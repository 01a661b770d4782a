"""The rows at both ends: gathered bit by bit, and their files."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherefrom.errors import DataError
from wherefrom.scores import (
    Outermost,
    Scores,
    read_scores,
    read_top,
    tiebreaks,
    write_scores,
    write_top,
)


def scored(values, ids=None):
    values = np.asarray(values, np.float32)
    queries = tuple(f"q{i}" for i in range(len(values)))
    ids = ids or tuple(f"r{i}" for i in range(values.shape[1]))
    return Scores(values, queries, ids, "made(up=1)", {"damping": 0.1}, "nats")


def gathered(scores, k, parts, lowest):
    """What gathers sees of the parts, each by one of two that are merged in the end."""
    pair = [
        Outermost(len(scores.query_ids), k, tiebreaks(scores.train_ids), lowest=lowest)
        for _ in range(2)
    ]
    for number, rows in enumerate(parts):
        pair[number % 2].add(rows, np.ascontiguousarray(scores.values[:, rows].T))
    pair[0].merge(pair[1])
    return pair[0].ranked()


@given(st.data())
def test_rows_gathered_bit_by_bit_are_those_of_all_scores(data):
    n = data.draw(st.integers(1, 40))
    k = data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**20)))
    scores = scored(rng.integers(-3, 4, (3, n)))
    order = rng.permutation(n)
    cuts = np.sort(rng.integers(0, n, data.draw(st.integers(0, 5))))
    ends = scores.ends(k)
    for lowest, want in ((False, ends.proponents), (True, ends.opponents)):
        rows, values = gathered(scores, k, np.split(order, cuts), lowest)
        assert np.array_equal(rows, want.indices)
        assert np.array_equal(values, want.values)


@pytest.mark.parametrize("lowest", [False, True])
def test_many_more_rows_than_are_gathered_at_once(lowest, monkeypatch):
    monkeypatch.setattr("wherefrom.scores._merge._SPARE", 50)
    rng = np.random.default_rng(0)
    scores = scored(rng.normal(size=(4, 3000)).round(2))
    rows, values = gathered(scores, 20, np.array_split(rng.permutation(3000), 60), lowest)
    want = scores.top(20, opponents=lowest)
    assert np.array_equal(rows, want.indices)
    assert np.array_equal(values, want.values)


def test_both_ends_and_their_frame():
    ends = scored([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]]).ends(2)
    assert ends.proponents.ids.tolist() == [["r1", "r2"], ["r2", "r0"]]
    assert ends.opponents.ids.tolist() == [["r0", "r2"], ["r1", "r0"]]
    assert (ends.k, ends.rows, ends.unit, ends.method) == (2, 3, "nats", "made(up=1)")
    frame = ends.to_pandas()
    first = frame[(frame["end"] == "opponent") & (frame["query"] == "q1")]
    assert first["train"].tolist() == ["r1", "r0"]
    assert first["rank"].tolist() == [1, 2]
    assert first["score"].tolist() == [-1.0, 0.0]


@pytest.mark.parametrize("queries", [0, 2])
def test_ends_survive_a_file(queries, tmp_path):
    ids = ('a "b"', "c,d", "é\n")
    ends = scored([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]][:queries] or np.zeros((0, 3)), ids).ends(2)
    path = tmp_path / "deep" / "made.parquet"
    write_top(ends, path)
    read = read_top(path)
    for one, other in ((read.proponents, ends.proponents), (read.opponents, ends.opponents)):
        assert one.ids.tolist() == other.ids.tolist()
        assert np.array_equal(one.values, other.values)
        assert one.values.dtype == np.float32
    for name in ("rows", "settings", "unit", "method", "query_ids"):
        assert getattr(read, name) == getattr(ends, name)
    assert read.k == 2


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_top(tmp_path / "none.parquet")
    write_scores(scored([[1.0, 2.0]]), tmp_path / "scores.parquet")
    with pytest.raises(DataError, match="not top rows that wherefrom wrote"):
        read_top(tmp_path / "scores.parquet")
    write_top(scored([[1.0, 2.0]]).ends(1), tmp_path / "top.parquet")
    with pytest.raises(DataError, match="not scores that wherefrom wrote"):
        read_scores(tmp_path / "top.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="not top rows"):
        read_top(tmp_path / "x.parquet")
