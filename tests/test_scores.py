"""Scores, their files, and anyone's matrix."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherefrom.errors import DataError, NonFiniteError, SettingError, WherefromError
from wherefrom.scores import SIGN, Scores, ranking, read_matrix, read_scores, write_scores

QUERIES = ("q0", "q1")
TRAIN = ("a", "b", "c")
VALUES = np.array([[1.0, 2.0, 3.0], [-4.5, 0.0, 6.25]], dtype=np.float32)


def some_scores(values=VALUES, **changes):
    return Scores(values, QUERIES, TRAIN, method="made(up=1)", **changes)


# the class


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_naming_query_and_row(bad):
    values = VALUES.copy()
    values[1, 2] = bad
    with pytest.raises(NonFiniteError, match=r"made\(up=1\).*'q1'.*'c'.*1 such"):
        some_scores(values)


def test_float64_beyond_float32_is_refused_not_made_infinite():
    with pytest.raises(NonFiniteError, match="'q0'"), np.errstate(over="ignore"):
        some_scores(VALUES.astype(np.float64) * 1e300)


def test_values_that_do_not_fit_the_ids_are_refused():
    with pytest.raises(WherefromError, match=r"\(3, 2\) for 2 queries and 3 training rows"):
        some_scores(VALUES.T)


def test_top_and_opponents_come_from_the_two_ends():
    scores = some_scores()
    assert scores.top(2).indices.tolist() == [[2, 1], [2, 1]]
    assert scores.top(2, opponents=True).values.tolist() == [[1.0, 2.0], [-4.5, 0.0]]
    assert scores.top(99).indices.shape == (2, 3)
    frame = scores.top(2).to_pandas()
    assert frame["train"].tolist() == ["c", "b", "c", "b"]
    assert frame["rank"].tolist() == [1, 2, 1, 2]


def test_scores_of_one_query_are_found_by_its_id():
    assert some_scores().for_query("q1").tolist() == [-4.5, 0.0, 6.25]
    with pytest.raises(SettingError, match="'q9'"):
        some_scores().for_query("q9")


# ranking


@given(st.data())
def test_ties_do_not_depend_on_the_order_of_the_rows(data):
    ids = data.draw(st.lists(st.text(max_size=5), unique=True, min_size=2, max_size=12))
    values = np.array([data.draw(st.integers(-1, 1)) for _ in ids], dtype=np.float32)
    shuffled = data.draw(st.permutations(range(len(ids))))
    one = ranking(values[None], tuple(ids))[0]
    other = ranking(values[None, shuffled], tuple(ids[i] for i in shuffled))[0]
    assert [ids[i] for i in one] == [ids[shuffled[i]] for i in other]
    assert np.all(np.diff(values[one]) <= 0)


def test_ties_do_not_favour_the_rows_that_stand_first():
    ids = tuple(f"r{i}" for i in range(200))
    order = ranking(np.zeros((1, 200), dtype=np.float32), ids)[0]
    assert sorted(order) == list(range(200))
    assert 60 < np.mean(order[:40]) < 140


# our files


def test_scores_survive_a_file(tmp_path):
    path = tmp_path / "deep" / "made.parquet"
    scores = some_scores(settings={"damping": 0.1, "recipe": "sound-1"}, unit="nats")
    write_scores(scores, path)
    read = read_scores(path)
    assert np.array_equal(read.values, VALUES)
    assert read.values.dtype == np.float32
    for name in ("query_ids", "train_ids", "method", "settings", "unit"):
        assert getattr(read, name) == getattr(scores, name)
    assert [p.name for p in path.parent.iterdir()] == ["made.parquet"]


def test_the_sign_is_written_into_the_file(tmp_path):
    import pyarrow.parquet as pq

    write_scores(some_scores(), tmp_path / "s.parquet")
    assert SIGN.encode() in pq.read_schema(tmp_path / "s.parquet").metadata[b"wherefrom.scores"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"not parquet at all", "not a readable Parquet"), (b"", "readable")],
)
def test_what_is_no_score_file_is_refused(tmp_path, content, message):
    path = tmp_path / "s.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_scores(path)


def test_a_parquet_of_somebody_else_is_no_score_file(tmp_path):
    pd.DataFrame({"x": [1.0]}).to_parquet(tmp_path / "s.parquet")
    with pytest.raises(DataError, match="not scores that wherefrom wrote"):
        read_scores(tmp_path / "s.parquet")


# anyone's matrix


def frame_with_ids(queries=QUERIES, train=TRAIN):
    rows, columns = [QUERIES.index(q) for q in queries], [TRAIN.index(t) for t in train]
    frame = pd.DataFrame(VALUES[np.ix_(rows, columns)], columns=list(train))
    frame.insert(0, "query", list(queries))
    return frame


def write_matrix(folder: Path, form: str) -> Path:
    path = folder / f"m.{form.partition('-')[0]}"
    permuted = frame_with_ids(("q1", "q0"), ("c", "a", "b"))
    plain = pd.DataFrame(VALUES, columns=[f"col{i}" for i in range(3)])
    match form:
        case "csv":
            np.savetxt(path, VALUES, delimiter=",")
        case "csv-header":
            plain.to_csv(path, index=False)
        case "csv-ids":
            frame_with_ids().to_csv(path, index=False)
        case "csv-permuted":
            permuted.to_csv(path, index=False)
        case "csv-pandas":
            some_scores().to_pandas().to_csv(path)
        case "npy":
            np.save(path, VALUES)
        case "npy-int":
            np.save(path, (VALUES * 4).astype(np.int64))
        case "parquet":
            plain.to_parquet(path)
        case "parquet-permuted":
            permuted.to_parquet(path)
        case "parquet-ours":
            turned = Scores(VALUES[::-1, ::-1], QUERIES[::-1], TRAIN[::-1], method="x")
            write_scores(turned, path)
    return path


FORMS = ("csv", "csv-header", "csv-ids", "csv-permuted", "csv-pandas", "npy", "parquet")


@pytest.mark.parametrize("form", [*FORMS, "parquet-permuted", "parquet-ours"])
def test_a_matrix_is_read_in_the_order_of_the_data(tmp_path, form):
    read = read_matrix(write_matrix(tmp_path, form), QUERIES, TRAIN)
    assert np.array_equal(read.values, VALUES)
    assert (read.query_ids, read.train_ids) == (QUERIES, TRAIN)


def test_whole_numbers_are_numbers(tmp_path):
    read = read_matrix(write_matrix(tmp_path, "npy-int"), QUERIES, TRAIN)
    assert np.array_equal(read.values, VALUES * 4)


@pytest.mark.parametrize("form", ["csv", "csv-permuted", "npy", "parquet"])
def test_the_negative_sign_turns_scores_round(tmp_path, form):
    read = read_matrix(write_matrix(tmp_path, form), QUERIES, TRAIN, sign="negative")
    assert np.array_equal(read.values, -VALUES)
    assert read.settings["sign as read"] == "negative"


def test_an_unknown_sign_or_ending_is_refused(tmp_path):
    path = write_matrix(tmp_path, "npy")
    with pytest.raises(SettingError, match=r"positive or negative.*'minus'"):
        read_matrix(path, QUERIES, TRAIN, sign="minus")
    other = tmp_path / "m.pkl"
    other.write_bytes(b"x")
    with pytest.raises(SettingError, match=r"\.csv, \.parquet or \.npy"):
        read_matrix(other, QUERIES, TRAIN)


@pytest.mark.parametrize("form", ["csv", "npy", "parquet"])
def test_a_matrix_of_another_shape_is_refused(tmp_path, form):
    path = write_matrix(tmp_path, form)
    with pytest.raises(DataError, match=r"shape \(2, 3\).*3 queries and 2 training rows.*must be"):
        read_matrix(path, ("q0", "q1", "q2"), ("a", "b"))


def test_ids_that_are_missing_are_named(tmp_path):
    path = write_matrix(tmp_path, "csv-ids")
    with pytest.raises(DataError, match=r"query 'q7' \(1 missing\)"):
        read_matrix(path, ("q0", "q7"), TRAIN)
    with pytest.raises(DataError, match=r"training row 'z'"):
        read_matrix(path, QUERIES, ("a", "b", "z"))


def test_a_query_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "m.csv"
    frame_with_ids(("q0", "q1", "q0")).to_csv(path, index=False)
    with pytest.raises(DataError, match=r"query 'q0' stands twice"):
        read_matrix(path, QUERIES, TRAIN)


BAD_CSV = {
    "text cell": ("1,2,3\n4,five,6\n", DataError, "not a number"),
    "text cell under ids": ("query,a,b,c\nq0,1,2,3\nq1,x,2,3\n", DataError, "'a'.*not a number"),
    "empty cell": ("1,2,3\n4,,6\n", NonFiniteError, "'q1'.*'b'"),
    "NaN": ("1,2,3\n4,nan,6\n", NonFiniteError, "'q1'.*'b'"),
    "ragged": ("1,2,3\n4,5,6,7\n", DataError, "not a readable CSV"),
    "empty": ("", DataError, "not a readable CSV"),
    "binary": (b"\xff\xfe\x00\x01", DataError, "not a readable CSV"),
    "missing": (None, DataError, "no such file"),
}


@pytest.mark.parametrize(("text", "kind", "message"), BAD_CSV.values(), ids=BAD_CSV)
def test_a_broken_csv_is_refused(tmp_path, text, kind, message):
    path = tmp_path / "m.csv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(kind, match=message):
        read_matrix(path, QUERIES, TRAIN)


def test_a_pickle_in_an_npy_is_never_loaded(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "m.npy"
    np.save(path, np.array([[Trap()] * 3] * 2, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="not a readable NPY"):
        read_matrix(path, QUERIES, TRAIN)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("values", [np.array([["a"] * 3] * 2), VALUES.astype(complex)])
def test_an_npy_of_no_numbers_is_refused(tmp_path, values):
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(DataError, match="not numbers"):
        read_matrix(tmp_path / "m.npy", QUERIES, TRAIN)


@pytest.mark.parametrize("ending", ["npy", "parquet"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01", b"PAR1 and nothing more"])
def test_a_damaged_file_is_refused(tmp_path, ending, content):
    path = tmp_path / f"m.{ending}"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not a readable"):
        read_matrix(path, QUERIES, TRAIN)


def test_ids_in_the_index_of_a_parquet_file_are_used(tmp_path):
    path = tmp_path / "m.parquet"
    turned = Scores(VALUES[::-1, ::-1], QUERIES[::-1], TRAIN[::-1], "x")
    turned.to_pandas().to_parquet(path)
    np.testing.assert_array_equal(read_matrix(path, QUERIES, TRAIN).values, VALUES)


def test_a_header_of_training_ids_alone_puts_columns_in_order(tmp_path):
    path = tmp_path / "m.csv"
    pd.DataFrame(VALUES[:, ::-1], columns=list(TRAIN[::-1])).to_csv(path, index=False)
    np.testing.assert_array_equal(read_matrix(path, QUERIES, TRAIN).values, VALUES)


def test_a_training_id_that_stands_twice_in_a_csv_is_refused(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("query,a,b,c,a\nq0,1,2,3,9\nq1,4,5,6,9\n")
    with pytest.raises(DataError, match="'a' stands twice"):
        read_matrix(path, QUERIES, TRAIN)


def test_ids_keep_their_leading_zeros(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("query,a,b,c\n02,4,5,6\n01,1,2,3\n")
    got = read_matrix(path, ("01", "02"), TRAIN)
    np.testing.assert_array_equal(got.values, [[1, 2, 3], [4, 5, 6]])


def test_an_archive_called_npy_is_refused(tmp_path):
    np.savez(tmp_path / "m.npz", VALUES)
    (tmp_path / "m.npz").rename(tmp_path / "m.npy")
    with pytest.raises(DataError, match="archive"):
        read_matrix(tmp_path / "m.npy", QUERIES, TRAIN)
