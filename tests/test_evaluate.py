"""Judging: a run's own methods and anyone's scores, by every metric that fits."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from judged import METHODS, WRONG, N, Q, make_run, retrainings, write_rows
from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.counterfactual import write_retrainings
from wherefrom.errors import SettingError
from wherefrom.metrics import Retrainings, lds_frame, mislabel_detection, noise_ceiling
from wherefrom.run import Run, _randomised, evaluate_file, execute, judge_run, make_config
from wherefrom.run._judgement import randomisation_lines
from wherefrom.scores import Scores, read_scores, write_scores


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("judged"), tiny_folder)


@pytest.fixture
def copied(made, tmp_path):
    return Run.open(shutil.copytree(made.path, tmp_path / "copied"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_rows(tmp_path_factory.mktemp("data"))


def picked(frame, metric, column="value"):
    lines = frame[frame["metric"] == metric]
    return dict(zip(lines["method"], lines[column], strict=True))


# a run's own methods


def test_a_run_is_judged_by_all_that_fits(copied):
    frame = judge_run(copied, ["mislabelled", "randomised"])
    assert set(frame["part"]) == {
        *("class match", "concentration", "retraining", "randomisation", "mislabelled", "agreement")
    }
    assert set(frame["recipe"]) == {"sound-1"}
    assert (frame["rows"] == N).all()
    kept = pd.read_parquet(copied.path / "judgement.parquet")
    assert kept.to_json(orient="records") == frame.to_json(orient="records")
    scores = list(copied.score().values())
    held = retrainings(copied)
    assert picked(frame, "lds") == picked(lds_frame(scores, held).assign(metric="lds"), "lds")
    assert picked(frame, "lds_ceiling") == {None: noise_ceiling(held).ceiling}
    own = pd.read_parquet(copied.path / "self-influence/sound-1/influence.parquet")
    assert own["id"].tolist() == [row.id for row in copied.train]
    want = mislabel_detection(own["self_influence"].to_numpy(), np.isin(np.arange(N), WRONG))
    assert picked(frame, "mislabelled_auroc")["influence"] == want.auroc.value
    assert picked(frame, "mislabelled_found@20%")["influence"] == want.found_in_20
    assert picked(frame, "mislabelled_share") == {None: len(WRONG) / N}
    looks = picked(frame, "randomised_spearman")
    assert looks["bm25"] == pytest.approx(1.0, abs=1e-12)
    assert abs(looks["gradient_dot"]) < 0.99
    pairs = frame[frame["metric"] == "spearman"]
    assert len(pairs) == len(METHODS) * (len(METHODS) - 1) / 2
    assert pairs["value"].between(-1, 1).all()


def test_without_tests_nothing_asks_the_model(copied, monkeypatch):
    def refuse(_):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(_randomised, "trained_state", refuse)
    shutil.rmtree(copied.path / "counterfactual")
    frame = judge_run(copied)
    assert set(frame["part"]) == {"class match", "concentration", "agreement"}
    assert not (copied.path / "randomised").exists()


def test_tests_that_cannot_be_made_are_refused_before_anything_is_done(
    cli, copied, tiny_folder, tmp_path
):
    with pytest.raises(SettingError, match="'nope'; there are mislabelled, randomised"):
        judge_run(copied, ["nope"])
    rows = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(4)))
    options = ("--model", tiny_folder, "--methods", "gradient_dot")
    assert cli("index", tmp_path / "r", "--data", rows, *options).code == 0
    called = cli("evaluate", tmp_path / "r", "--tests", "mislabelled")
    refused(called, "t.jsonl:1 (id 'r0'): has no such column", "mislabelled:TASK")
    refused(cli("evaluate", tmp_path / "r"), "no queries to score")


def test_the_rows_of_the_task_are_flagged_and_recipes_are_judged_apart(cli, tiny_folder, tmp_path):
    config = make_config(
        "tests",
        model=str(tiny_folder),
        task="mislabelled:grammars",
        train_per_class=2,
        queries_per_class=1,
        also=("paper-1",),
        methods=("gradient_dot", "bm25"),
        finetune={"mode": "full", "epochs": 1, "precision": "float32"},
    )
    run = execute(tmp_path / "r", config).run
    called = cli("evaluate", run.path, "--tests", "mislabelled,randomised")
    assert called.code == 0, called
    assert "2 of 20 rows are mislabelled" in called.out
    frame = pd.read_parquet(run.path / "judgement.parquet")
    found = frame[frame["metric"] == "randomised_spearman"].set_index(["recipe", "method"])["value"]
    assert found.index.tolist() == [
        (recipe, method) for recipe in ("sound-1", "paper-1") for method in config.methods
    ]
    assert (found.xs("bm25", level="method") > 1 - 1e-12).all()
    assert (found.xs("gradient_dot", level="method").abs() < 0.99).all()


def test_a_run_without_queries_can_be_searched_for_mislabelled_rows(
    cli, data, tiny_folder, tmp_path
):
    options = ("--model", tiny_folder, "--methods", "gradient_dot")
    assert cli("index", tmp_path / "r", "--data", data / "train.jsonl", *options).code == 0
    frame = judge_run(Run.open(tmp_path / "r"), ["mislabelled"])
    assert set(frame["part"]) == {"mislabelled"}
    assert set(frame["method"].dropna()) == {"gradient_dot"}


# anyone's scores


def ids(rows):
    return tuple(row.id for row in rows)


def write_matrix(run, path, values):
    frame = pd.DataFrame(
        values, index=pd.Index(ids(run.queries), name="query"), columns=ids(run.train)
    )
    if path.suffix == ".npy":
        np.save(path, frame.to_numpy())
    elif path.suffix == ".csv":
        frame.iloc[::-1].to_csv(path)
    else:
        frame.iloc[:, ::-1].to_parquet(path)
    return path


def test_matrices_of_every_form_say_the_same(made, tmp_path):
    values = np.random.default_rng(1).normal(size=(Q, N)).astype(np.float32)
    paths = [
        write_matrix(made, tmp_path / f"{kind}.{kind}", values)
        for kind in ("csv", "npy", "parquet")
    ]
    frame = evaluate_file(paths, made.path)
    for metric in ("accuracy", "auroc", "filtering_auprc", "cardinality@10", "lds"):
        assert len(set(picked(frame, metric).values())) == 1
    assert set(frame[frame["metric"] == "spearman"]["value"].round(12)) == {1.0}
    scores = Scores(values, ids(made.queries), ids(made.train), "npy")
    (want,) = lds_frame(scores, retrainings(made)).to_dict("records")
    line = frame[(frame["metric"] == "lds") & (frame["method"] == "npy")].iloc[0]
    assert (line["value"], line["low"], line["high"]) == (want["value"], want["low"], want["high"])
    assert line["queries"] == 3


def test_each_file_may_have_a_sign_of_its_own(made, tmp_path):
    values = np.random.default_rng(1).normal(size=(Q, N))
    up = write_matrix(made, tmp_path / "up.npy", values)
    down = write_matrix(made, tmp_path / "down.npy", -values)
    frame = evaluate_file([up, down], made.path, ["positive", "negative"])
    assert picked(frame, "spearman") == {"up": pytest.approx(1.0)}
    with pytest.raises(SettingError, match="2 signs for 1 score files"):
        evaluate_file(up, made.path, ["positive", "negative"])


def test_a_runs_own_methods_stand_beside(made, tmp_path):
    own = made.path / "scores" / "sound-1" / "influence.parquet"
    frame = evaluate_file(own, made.path, against=["influence", "bm25"])
    assert set(frame["method"].dropna()) == {str(own), "influence", "bm25"}
    same = frame[(frame["metric"] == "spearman") & (frame["against"] == "influence")]
    assert same["value"].tolist() == [pytest.approx(1.0)]
    every = evaluate_file(own, made.path, against=["all"])
    assert set(METHODS) < set(every["method"].dropna())
    with pytest.raises(
        SettingError, match=r"no scores of tracin; it has .*bm25.*--methods \"tracin\""
    ):
        evaluate_file(own, made.path, against=["tracin"])


def test_scores_under_randomised_weights_are_held_against_the_real_ones(made, tmp_path):
    rng = np.random.default_rng(2)
    values = rng.normal(size=(Q, N))
    real = write_matrix(made, tmp_path / "real.csv", values)
    same = write_matrix(made, tmp_path / "same.npy", 3 * values + 1)
    other = write_matrix(made, tmp_path / "other.npy", rng.normal(size=(Q, N)))
    frame = evaluate_file([real, same], made.path, randomised=[same, other])
    found = picked(frame, "randomised_spearman")
    assert found["real"] == pytest.approx(1.0)
    ranks = [np.argsort(np.argsort(m)) for m in (values, np.load(other))]
    want = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)])
    assert found["same"] == pytest.approx(want)
    line = frame[frame["metric"] == "randomised_spearman"].iloc[1]
    assert line["low"] < line["value"] < line["high"]
    with pytest.raises(SettingError, match="1 randomised matrices for 2 score files"):
        evaluate_file([real, same], made.path, randomised=[same])


def test_the_randomisation_test_does_not_depend_on_the_order_of_queries():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 8, 5))
    names, rows = tuple("abcdefgh"), tuple("vwxyz")
    turned = Scores(a[::-1], names[::-1], rows, "m")
    first = randomisation_lines(Scores(a, names, rows, "m"), Scores(b, names, rows, "m"))
    (found,) = randomisation_lines(turned, Scores(b, names, rows, "m"))
    assert found["value"] == pytest.approx(first[0]["value"])
    assert (found["low"], found["high"]) == pytest.approx((first[0]["low"], first[0]["high"]))
    constant = Scores(np.zeros((8, 5)), names, rows, "m")
    (nothing,) = randomisation_lines(constant, constant)
    assert np.isnan(nothing["value"])
    assert nothing["undefined"] == 8


def test_rows_without_any_class_are_judged_by_the_rest(cli, made, tmp_path):
    rows = [{k: v for k, v in row.items() if k != "label"} for row in row_dicts(tiny_rows(6))]
    write_jsonl(tmp_path / "train.jsonl", rows[:4])
    write_jsonl(tmp_path / "test.jsonl", rows[4:])
    np.save(tmp_path / "s.npy", np.random.default_rng(0).normal(size=(2, 4)))
    called = cli("evaluate", "--scores", tmp_path / "s.npy", "--data", tmp_path)
    assert called.code == 0
    assert "carry no class" in called.err
    assert "card.@4" in called.out
    assert "accuracy" not in called.out


# the verb


def refused(called, *fragments):
    assert called.code == 2, called
    assert sum(line.startswith("error:") for line in called.err.splitlines()) == 1
    assert "Traceback" not in called.err
    for fragment in fragments:
        assert fragment in called.err


def parsed(called):
    assert called.code == 0, called
    return json.loads(called.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_the_verb_judges_a_run_in_every_form(cli, copied):
    tests = ("--tests", "mislabelled,randomised")
    called = cli("evaluate", copied.path, *tests)
    assert called.code == 0, called
    for told in (
        *(
            "accuracy",
            "card.@10",
            "foretelling retraining",
            "noise ceiling of LDS",
            "randomised weights",
        ),
        *("mislabelled rows", "3 of 12 rows are mislabelled", "rank agreement", "RBO"),
    ):
        assert told in called.out
    assert "randomised model (sound-1): 6 methods, 2 passes over" in called.err
    assert "self-influence (sound-1): 4 methods, 12 rows" in called.err
    markdown = cli("evaluate", copied.path, "--format", "md").out
    assert markdown.startswith("| method |")
    assert "\n### foretelling retraining\n\n| method | LDS |\n" in markdown
    lines = parsed(cli("evaluate", copied.path, *tests, "--format", "json"))
    assert {line["method"] for line in lines} == {*METHODS, None}
    assert all(line["value"] is not None for line in lines if line["part"] == "mislabelled")
    assert {type(line["rows"]) for line in lines} == {int}


def test_many_methods_are_told_by_the_nearest_of_each(cli, copied, monkeypatch):
    monkeypatch.setattr("wherefrom.cli._print_judgement._MOST_PAIRS", 3)
    told = cli("evaluate", copied.path).out
    assert "most like" in told
    assert "of 15 pairs the nearest of each method" in told


def test_one_seed_has_no_ceiling(cli, copied):
    path = copied.path / "counterfactual/retrainings.safetensors"
    write_retrainings(retrainings(copied, seeds=1), path, "x")
    assert "no noise ceiling with one seed" in cli("evaluate", copied.path).out
    lines = parsed(cli("evaluate", copied.path, "--format", "json"))
    assert [x["value"] for x in lines if x["metric"] == "lds_ceiling"] == [None]


def test_the_verb_judges_files(cli, made, data, tmp_path):
    rng = np.random.default_rng(3)
    one, two, away = (
        write_matrix(made, tmp_path / name, rng.normal(size=(Q, N)))
        for name in ("one.csv", "two.npy", "away.npy")
    )
    found = np.isin(np.arange(N), WRONG) + rng.random(N) / 2
    pd.DataFrame({"id": ids(made.train), "v": found}).to_csv(tmp_path / "si.csv", index=False)
    files = ("--scores", one, "--scores", two, "--randomised", away, "--randomised", one)
    more = ("--against", "influence,bm25", "--self-influence", tmp_path / "si.csv")
    lines = parsed(cli("evaluate", *files, *more, "--data", made.path, "--format", "json"))
    assert {line["method"] for line in lines} == {"one", "two", "influence", "bm25", "si", None}
    (auroc,) = [line["value"] for line in lines if line["metric"] == "mislabelled_auroc"]
    assert auroc == 1.0
    alone = cli("evaluate", "--self-influence", tmp_path / "si.csv", "--data", data)
    assert alone.out.startswith("mislabelled rows\n")
    refused(
        cli("evaluate", *files[:2], "--data", data, "--against", "bm25"), "this is no run folder"
    )
    write_jsonl(tmp_path / "train.jsonl", row_dicts(tiny_rows(N)))
    write_jsonl(tmp_path / "test.jsonl", row_dicts(tiny_rows(2)))
    called = cli("evaluate", "--self-influence", tmp_path / "si.csv", "--data", tmp_path)
    refused(called, "train.jsonl:1", "mislabelled")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a run, or --data and --scores"),
        (["--scores", "s.npy"], "give a run, or --data and --scores"),
        (["--data", "x"], "give a run, or --data and --scores"),
        (["runs/x", "--scores", "s.npy"], "a run is judged by itself"),
        (["--tests", "randomised", "--scores", "s.npy", "--data", "x"], "tests take a run"),
    ],
)
def test_the_two_forms_are_not_mixed(cli, monkeypatch, arguments, message):
    monkeypatch.setenv("COLUMNS", "300")
    called = cli("evaluate", *arguments)
    assert called.code == 2
    assert message in " ".join(called.err.split())


def test_retrainings_of_other_rows_are_refused(cli, copied):
    held = retrainings(copied)
    other = Retrainings(held.kept, held.outcomes, held.query_ids, tuple(map(str, range(N))))
    write_retrainings(other, copied.path / "counterfactual/retrainings.safetensors", "x")
    refused(cli("evaluate", copied.path), "Score every row")


def test_a_score_file_of_ours_keeps_its_name_in_the_tables(made, tmp_path):
    scores = read_scores(made.path / "scores" / "sound-1" / "bm25.parquet")
    write_scores(scores, tmp_path / "mine.parquet")
    assert set(evaluate_file(tmp_path / "mine.parquet", made.path)["method"].dropna()) == {"mine"}
