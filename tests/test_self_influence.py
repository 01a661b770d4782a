"""Self-influence: a run's own against per-row autograd, and anyone's from a file."""

import numpy as np
import pandas as pd
import pytest

from judged import METHODS, N, gradients, make_run, recipe_of
from wherefrom.data import Example
from wherefrom.errors import DataError, NonFiniteError, SettingError
from wherefrom.methods import parse_method
from wherefrom.run import Run, self_influence
from wherefrom.run._self_influence import mislabelled_flags, no_self_score
from wherefrom.scores import read_self_influence


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("judged"), tiny_folder)


def self_of(run, *specs):
    return self_influence(run, recipe_of(run), [parse_method(spec) for spec in specs])


def test_self_influence_of_gradient_dot_is_the_squared_gradient_norm(made):
    want = sum((g**2).sum(1) for g in gradients(made.model, recipe_of(made), made.train))
    np.testing.assert_allclose(self_of(made, "gradient_dot")["gradient_dot"], want, rtol=1e-4)


def test_self_influence_of_influence_is_the_dense_damped_inverse(made):
    want = 0
    for g in gradients(made.model, recipe_of(made), made.train):
        fisher = g.T @ g / N
        lam = np.trace(fisher) / min(g.shape)
        solved = np.linalg.solve(fisher + lam * np.eye(len(fisher)), g.T)
        want = want + np.einsum("np,pn->n", g, solved)
    found = self_of(made, "influence", "self_influence")
    np.testing.assert_allclose(found["influence"], want, rtol=1e-4)
    np.testing.assert_allclose(found["self_influence"], want, rtol=1e-4)


def test_rows_asked_in_slices_or_captured_anew_say_the_same(made, monkeypatch):
    specs = ("gradient_dot", "influence", "influence(normalise=row, whiten=1)")
    whole = self_of(made, *specs)
    module = "wherefrom.run._self_influence"
    monkeypatch.setattr(f"{module}._ROWS", 5)
    sliced = self_of(made, *specs)
    monkeypatch.setattr(Run, "is_stored", lambda *_: False)
    anew = self_of(made, *specs)
    for spec, values in whole.items():
        np.testing.assert_allclose(sliced[spec], values, rtol=1e-6)
        np.testing.assert_allclose(anew[spec], values, rtol=1e-3)


def test_methods_that_say_nothing_of_a_row_by_itself_are_left_out_by_name(made, capsys):
    found = self_of(made, *METHODS, "random")
    assert set(found) == {"gradient_dot", "influence", "self_influence"}
    told = capsys.readouterr().err
    assert "no self-influence by bm25: does not look at the model" in told
    assert "no self-influence by repsim: does not see the response" in told
    assert "no self-influence by gradient_cosine: scores every row alike" in told
    with pytest.raises(SettingError, match="none of its methods says anything of a row by itself"):
        self_of(made, "bm25")


def test_what_a_self_score_needs():
    for spec in ("tracin", "ekfac", "for_value(similarity=dot)", "self_influence", "less"):
        assert no_self_score(parse_method(spec)) is None
    for spec in ("tfidf", "random", "dra", "trackstar", "contrastive", "repsim", "unrolled"):
        assert no_self_score(parse_method(spec)) is not None


@pytest.mark.parametrize(
    "kinds", [(True, False), ("True", "false"), (1, 0), ("1", "0"), (1.0, 0.0)]
)
def test_flags_are_read_however_they_were_written(kinds):
    rows = [Example.of(str(i), "p", "r", mislabelled=kinds[i % 2]) for i in range(4)]
    assert mislabelled_flags(rows).tolist() == [True, False] * 2


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({}, "has no such column"),
        ({"mislabelled": [1]}, r"says \[1\]"),
        ({"mislabelled": 1}, "2 of 2"),
    ],
)
def test_flags_that_are_missing_or_say_nothing_are_refused_naming_the_row(second, message):
    rows = [Example.of("a", "p", "r", mislabelled=True), Example.of("b", "p", "r", **second)]
    with pytest.raises(DataError, match=message):
        mislabelled_flags(rows)


# self-influence of anyone


def vector_files(folder, names, values):
    backwards = pd.DataFrame({"row": names[::-1], "value": values[::-1]})
    np.save(folder / "flat.npy", values)
    np.save(folder / "column.npy", values[:, None])
    backwards.to_csv(folder / "ids.csv", index=False)
    pd.DataFrame([values[::-1]], columns=names[::-1]).to_csv(folder / "wide.csv", index=False)
    np.savetxt(folder / "lines.csv", values)
    np.savetxt(folder / "line.csv", values[None], delimiter=",")
    pd.DataFrame({"self": values}).to_csv(folder / "named.csv", index=False)
    backwards.to_parquet(folder / "ids.parquet")
    backwards.set_index("row")[["value"]].to_parquet(folder / "index.parquet")
    pd.DataFrame({"self": values}).to_parquet(folder / "named.parquet")
    return sorted([*folder.glob("*.npy"), *folder.glob("*.csv"), *folder.glob("*.parquet")])


@pytest.mark.parametrize("names", [tuple("vwxyz"), ("3", "1", "07", "10", "2")])
def test_one_number_for_each_row_is_read_from_every_form(tmp_path, names):
    values = np.random.default_rng(0).normal(size=5)
    files = vector_files(tmp_path, names, values)
    if names[0] == "3":
        # a header of numbers cannot be told from a line of them
        files = [path for path in files if path.name != "wide.csv"]
    for path in files:
        np.testing.assert_allclose(read_self_influence(path, names), values, err_msg=path.name)


BAD_VECTORS = {
    "missing": ("v.npy", None, DataError, "no such file"),
    "ending": ("v.txt", "1", SettingError, r"\.csv, \.parquet or \.npy"),
    "length": ("v.csv", "1\n2\n", DataError, "holds 2 numbers, but the data has 3 training rows"),
    "matrix": ("v.csv", "1,2\n3,4\n5,6\n", DataError, "2 columns of values"),
    "text": (
        "v.csv",
        "id,v\na,1\nb,x\nc,3\n",
        DataError,
        "'v' holds something that is not a number",
    ),
    "NaN": ("v.csv", "id,v\na,1\nb,nan\nc,3\n", NonFiniteError, "training row 'b' is nan"),
    "infinite": ("v.csv", "1\ninf\n2\n", NonFiniteError, "training row 'b' is inf"),
    "lacking": ("v.csv", "id,v\na,1\nb,2\nx,3\n", DataError, "no number for training row 'c'"),
    "twice": ("v.csv", "id,v\na,1\nb,2\nc,3\nb,3\n", DataError, "'b' stands twice"),
    "columns": ("v.csv", "v,v\n1,2\n", DataError, "the column 'v' stands twice"),
    "empty": ("v.csv", "", DataError, "not a readable CSV"),
    "no NPY": ("v.npy", "hello", DataError, "not a readable NPY"),
    "no Parquet": ("v.parquet", "hello", DataError, "not a readable Parquet"),
}


@pytest.mark.parametrize(
    ("name", "content", "error", "message"), BAD_VECTORS.values(), ids=BAD_VECTORS
)
def test_bad_vectors_are_refused(tmp_path, name, content, error, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=message) as caught:
        read_self_influence(tmp_path / name, ("a", "b", "c"))
    assert len(str(caught.value).splitlines()) == 1


def test_a_matrix_or_words_in_an_npy_file_are_no_vector(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"shape \(2, 3\), but must hold one number for each row"):
        read_self_influence(tmp_path / "m.npy", tuple("abcdef"))
    np.save(tmp_path / "w.npy", np.array(["x", "y"]))
    with pytest.raises(DataError, match="not a number"):
        read_self_influence(tmp_path / "w.npy", ("a", "b"))
