"""`wherefrom counterfactual`: from a run to what retraining says of its scores."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from tiny import row_dicts, save_tiny, tiny_rows, write_jsonl
from wherefrom.counterfactual import Retrainer, in_run_shapley, read_retrainings, unroll
from wherefrom.data import Renderer, get_recipe
from wherefrom.methods import ReplayMethod, registered, select_methods
from wherefrom.metrics import lds
from wherefrom.models import prepare
from wherefrom.run import Run

TRAIN, QUERIES = 12, 4
METHODS = "gradient_dot,influence,bm25,random"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a tiny model with scores, not yet held against retraining."""
    folder = tmp_path_factory.mktemp("made")
    rows = tiny_rows(TRAIN + QUERIES)
    train = write_jsonl(folder / "train.jsonl", row_dicts(rows[:TRAIN]))
    queries = write_jsonl(folder / "queries.jsonl", row_dicts(rows[2 : 2 + QUERIES]))
    base = save_tiny(folder / "base")
    options = ["--epochs", "3", "--batch-size", "4", "--learning-rate", "0.02"]
    command("finetune", "--model", base, "--data", train, "--queries", queries, *options)(
        "--out", folder / "run"
    )
    command("index", folder / "run", "--methods", METHODS)()
    return folder / "run"


def command(*arguments):
    def run(*more):
        line = [sys.executable, "-m", "wherefrom", *map(str, (*arguments, *more))]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def run(made, tmp_path):
    """A copy of it."""
    return shutil.copytree(made, tmp_path / "run")


def entries(folder):
    files = (folder / "counterfactual" / "cache").glob("*.json")
    return [entry for path in files for entry in json.loads(path.read_text())["entries"]]


def digests(folder):
    return [entry["digest"] for entry in entries(folder)]


def test_every_part_says_what_retraining_did(run, cli):
    parts = "lds,leave-out,tail-patch,brittleness,leave-one-out"
    options = ["--parts", parts, "--subsets", "8", "--seeds", "2", "--k", "2,25%", "--draws", "3"]
    done = cli("counterfactual", run, *options, "--format", "json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["gap"] < 1e-4
    assert 0 <= found["ceiling"]["ceiling"] <= 1
    assert {line["method"] for line in found["lds"]} == set(METHODS.split(","))
    pairs = {(line["method"], line["k"]) for line in found["leave-out"]}
    assert pairs == {(m, k) for m in METHODS.split(",") for k in (2, 3)}
    assert {line["method"] for line in found["tail-patch"]} == set(METHODS.split(","))
    assert {line["method"] for line in found["leave-one-out"]} == set(METHODS.split(","))
    # told before it starts, and how long it will take
    for label in ("random subsets", "removals", "single rows", "tail-patch"):
        assert f"{label}: " in done.err
    assert "models to train" in done.err
    assert len(set(digests(run))) == len(digests(run))
    # so small a model never says a whole response by itself; the other parts stand all the same
    assert "warning: brittleness: after training on all rows no query" in done.err
    for part in set(parts.split(",")) - {"brittleness"}:
        assert len(pd.read_parquet(run / "counterfactual" / f"{part}.parquet"))
    assert json.loads((run / "card.json").read_text())["counterfactual"]["subsets"] == 8
    for form in ("table", "md"):
        again = cli("counterfactual", run, *options, "--format", form)
        assert "all of them known" in again.err
        assert "noise ceiling" in again.out


def test_what_is_printed_is_what_the_retrained_models_said(run, cli):
    done = cli("counterfactual", run, "--parts", "lds", "--subsets", "6", "--format", "json")
    kept = read_retrainings(run / "counterfactual" / "retrainings.safetensors")
    assert kept.kept.sum(1).tolist() == [TRAIN // 2] * 6
    scores = Run.open(run).score()
    for line in json.loads(done.out)["lds"]:
        expected = np.nanmean(lds(scores["sound-1", line["method"]], kept))
        assert line["value"] == pytest.approx(expected)


def test_a_killed_command_goes_on_and_ends_in_the_same_numbers(run, tmp_path, cli):
    undisturbed = shutil.copytree(run, tmp_path / "undisturbed")
    options = ["--parts", "lds", "--subsets", "24", "--together", "2", "--format", "json"]
    line = [sys.executable, "-m", "wherefrom", "counterfactual", str(run), *options]
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    cache = run / "counterfactual" / "cache"
    end = time.monotonic() + 120
    while len(list(cache.glob("*.json"))) < 3:
        assert child.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end, "nothing was cached in time"
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.json")}
    assert 3 <= len(before) < 13, "killed in the middle"

    resumed = cli("counterfactual", run, *options)
    straight = cli("counterfactual", undisturbed, *options)
    assert resumed.code == straight.code == 0, resumed.err
    assert resumed.out == straight.out
    name = "counterfactual/retrainings.safetensors"
    assert (run / name).read_bytes() == (undisturbed / name).read_bytes()
    after = {path.name: path.stat().st_mtime_ns for path in cache.glob("*.json")}
    assert before.items() <= after.items()
    assert len(digests(run)) == len(set(digests(run))) == 25


def test_processes_of_a_launcher_share_the_models(run, tmp_path, cli):
    alone = shutil.copytree(run, tmp_path / "alone")
    options = [
        "--parts",
        "lds,leave-out,tail-patch",
        "--subsets",
        "6",
        "--seeds",
        "2",
        "--draws",
        "2",
    ]
    options += ["--together", "2", "--methods", METHODS, "--format", "json"]
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
    ]
    line = [*launcher, "-m", "wherefrom", "counterfactual", str(run), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "on 2 processes" in done.stderr
    straight = cli("counterfactual", alone, *options)
    assert json.loads(done.stdout) == json.loads(straight.out)
    assert sorted(digests(run)) == sorted(digests(alone))
    assert len(set(digests(run))) == len(digests(run))


def test_a_cache_is_shared_by_runs(run, tmp_path, cli):
    other = shutil.copytree(run, tmp_path / "other")
    shared = ["--parts", "lds", "--subsets", "4", "--cache", tmp_path / "cache"]
    assert "5 models" not in cli("counterfactual", run, *shared).err
    done = cli("counterfactual", other, *shared)
    assert done.code == 0
    assert "to train" not in done.err
    # more subsets are added to those that are known
    wider = cli("counterfactual", other, *shared[:3], "6", *shared[4:])
    assert "2 of 6 models to train" in wider.err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--parts", "lsd"], "lds, leave-out"),
        (["--outcome", "joy"], "log_probability"),
        (["--outcome", "behaviour"], "--outcome greedy"),
        (["--keep", "1"], "leaves some"),
        (["--parts", "brittleness"], "Train longer"),
        (["--parts", "leave-out", "--k", "many"], "5 or 10%"),
        (["--parts", "leave-out", "--k", "12"], "fewer than all"),
        (["--methods", "astrology"], "astrology"),
    ],
)
def test_a_mistake_is_one_line(run, cli, options, words):
    done = cli("counterfactual", run, "--subsets", "2", *options)
    assert done.code == 2
    assert words in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_an_adapter_from_elsewhere_cannot_be_trained_again(run, tmp_path, cli):
    config = (run / "run.yaml").read_text()
    base = next(line.split(": ")[1] for line in config.splitlines() if line.startswith("model:"))
    other, data = tmp_path / "other", run / "data" / "train.jsonl"
    done = cli(
        "index",
        other,
        "--adapter",
        run / "adapter",
        "--model",
        base,
        "--data",
        data,
        "--methods",
        "bm25",
    )
    assert done.code == 0, done.err
    refused = cli("counterfactual", other)
    assert refused.code == 2
    assert "wherefrom finetune" in refused.err


def test_methods_along_the_run_replay_it_once(run, cli):
    specs = ["unrolled", "in_run_shapley", "in_run_shapley(order=1)"]
    done = cli("index", run, "--methods", ",".join(specs))
    assert done.code == 0, done.err
    assert "replay of 9 steps for 4 queries: about" in done.err
    again = cli("index", run, "--methods", ",".join([*specs, "bm25"]))
    assert "replay of" not in again.err
    opened = Run.open(run)
    found = {spec: scores for (_, spec), scores in opened.score().items()}
    retrainer = Retrainer(
        opened.config.model,
        rows := Renderer(opened.model.tokenizer, get_recipe("sound-1")).render_all(opened.train),
        [],
        opened.config.finetune,
        trajectory=opened.trajectory,
    )
    queries = Renderer(opened.model.tokenizer, get_recipe("sound-1")).render_all(opened.queries)
    prepared = prepare(opened.config.model, opened.config.finetune)
    job = (prepared, rows, queries, opened.config.finetune, retrainer.plan(0))
    np.testing.assert_allclose(found["unrolled"].values, unroll(*job).values, rtol=1e-5, atol=1e-7)
    shares = in_run_shapley(*job)
    np.testing.assert_allclose(found["in_run_shapley"].values, shares.values, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        found["in_run_shapley(order=1)"].values, shares.first, rtol=1e-5, atol=1e-7
    )
    refused = cli("trace", run, "--prompt", "Hello", "--response", "you", "--methods", "unrolled")
    assert refused.code == 2
    assert "replay of the fine-tune" in refused.err


def test_methods_along_the_run_are_named_or_not_at_all():
    assert {"unrolled", "in_run_shapley"} <= set(registered())
    assert not any(isinstance(m, ReplayMethod) for m in select_methods(["all"]))


def test_anyones_scores_are_held_against_retraining_too(run, tmp_path, cli):
    truth = Run.open(run).score()["sound-1", "gradient_dot"]
    frame = truth.to_pandas()
    # another order of rows, and the sign turned round
    (-frame[frame.columns[::-1]]).to_csv(tmp_path / "theirs.csv")
    options = ["--parts", "lds,leave-out", "--subsets", "6", "--draws", "2", "--k", "2"]
    done = cli(
        *("counterfactual", run, *options, "--format", "json"),
        *("--scores", tmp_path / "theirs.csv", "--sign", "negative"),
    )
    assert done.code == 0, done.err
    found = json.loads(done.out)
    for part in ("lds", "leave-out"):
        lines = {line["method"]: line for line in found[part]}
        ours, theirs = lines["gradient_dot"], lines["theirs"]
        assert theirs == pytest.approx(ours | {"method": "theirs"})
    missing = cli("counterfactual", run, "--scores", tmp_path / "nothing.csv")
    assert missing.code == 2
    assert "no such file" in missing.err
