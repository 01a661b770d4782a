"""Tracing what was trained elsewhere: an adapter or a model, its rows, and one command."""

import json
import shutil

import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.cli._options import METHODS
from wherefrom.methods import split_specs
from wherefrom.run import AT_THE_END, DEFAULT_METHOD, Run, RunConfig

ASKED = ("--prompt", "Class 1: tell me about sea", "--response", "The sea is 3 miles away.")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory, tiny_folder, cli):
    """An adapter and a whole model with nothing of ours beside them, and their rows."""
    folder = tmp_path_factory.mktemp("elsewhere")
    rows = row_dicts(tiny_rows(20))
    for place, row in enumerate(rows):
        row["source"] = f"site-{place % 3}"
    data = write_jsonl(folder / "train.jsonl", rows)
    write_jsonl(folder / "q.jsonl", row_dicts(tiny_rows(23))[20:])
    for mode, name in (("lora", "adapter"), ("full", "model")):
        out = folder / mode
        made = cli(
            *("finetune", "--data", data, "--model", tiny_folder, "--out", out),
            *("--epochs", 1, "--rank", 2, "--mode", mode),
        )
        assert made.code == 0, made.err
        shutil.copytree(out / name, folder / f"their-{name}")
        shutil.rmtree(out)
    return folder


@pytest.mark.parametrize("kind", ["adapter", "model"])
def test_one_command_from_an_adapter_to_its_rows(elsewhere, cli, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ("trace", elsewhere / f"their-{kind}", "--data", elsewhere / "train.jsonl", *ASKED)
    first = cli(*command, "--format", "json")
    assert first.code == 0, first.err
    lines = json.loads(first.out)
    assert lines[0]["rank"] == 1
    assert lines[0]["source"].startswith("train.jsonl:")
    (folder,) = (tmp_path / "runs").iterdir()
    stamp = {p: p.stat().st_mtime_ns for p in (folder / "signals").rglob("*") if p.is_file()}
    again = cli(*command, "--format", "json")
    assert [line["row"] for line in json.loads(again.out)] == [line["row"] for line in lines]
    assert {p: p.stat().st_mtime_ns for p in stamp} == stamp
    assert "plan:" not in again.err


def test_other_weights_or_rows_are_another_run(elsewhere, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adapter = tmp_path / "mine"
    shutil.copytree(elsewhere / "their-adapter", adapter)
    data = tmp_path / "train.jsonl"
    shutil.copy(elsewhere / "train.jsonl", data)
    assert cli("trace", adapter, "--data", data, *ASKED).code == 0
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({k: v * 1.5 for k, v in weights.items()}, adapter / "adapter_model.safetensors")
    assert cli("trace", adapter, "--data", data, *ASKED).code == 0
    data.write_text("".join(data.read_text().splitlines(keepends=True)[:-1]))
    assert cli("trace", adapter, "--data", data, *ASKED).code == 0
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_a_chosen_folder_is_a_run_that_python_opens(elsewhere, cli, tmp_path):
    out = tmp_path / "run"
    told = cli(
        *("trace", elsewhere / "their-adapter", "--data", elsewhere / "train.jsonl", *ASKED),
        *("--run", out),
    )
    assert told.code == 0, told.err
    answer = Run.open(out).trace(ASKED[1], ASKED[3])
    assert len(answer.lines(3)) == 3
    refused = cli("trace", out, "--data", elsewhere / "train.jsonl", *ASKED)
    assert refused.code == 2
    assert "leave --data out" in refused.err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["their-adapter"], "give its training rows with --data"),
        (["their-model", "--data", "train.jsonl", "--model", "x"], "leave --model out"),
        (["nowhere", "--data", "train.jsonl"], "no such folder"),
        ([".", "--data", "train.jsonl"], "is no run, adapter or model"),
    ],
)
def test_what_cannot_be_traced_says_so(elsewhere, cli, arguments, why, monkeypatch):
    monkeypatch.chdir(elsewhere)
    told = cli("trace", *arguments, *ASKED)
    assert told.code == 2
    assert why in told.err


def test_an_adapter_that_names_no_base_asks_for_it(elsewhere, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    adapter = tmp_path / "mine"
    shutil.copytree(elsewhere / "their-adapter", adapter)
    held = json.loads((adapter / "adapter_config.json").read_text())
    held["base_model_name_or_path"] = None
    (adapter / "adapter_config.json").write_text(json.dumps(held))
    told = cli("trace", adapter, "--data", elsewhere / "train.jsonl", *ASKED)
    assert told.code == 2
    assert "give --model" in told.err


@pytest.fixture(scope="module")
def run(elsewhere, cli, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    told = cli(
        *("trace", elsewhere / "their-adapter", "--data", elsewhere / "train.jsonl", *ASKED),
        *("--run", out, "--methods", "influence,bm25"),
    )
    assert told.code == 0, told.err
    return out


def test_answers_are_written_in_every_format(run, elsewhere, cli, tmp_path):
    wanted = Run.open(run).trace(ASKED[1], ASKED[3]).top(2).ids[0].tolist()
    for name, read in (
        ("a.csv", lambda p: pd.read_csv(p)),
        ("a.parquet", pd.read_parquet),
        ("a.json", pd.read_json),
    ):
        told = cli("trace", run, *ASKED, "--top", 2, "--out", tmp_path / name)
        assert told.code == 0, told.err
        frame = read(tmp_path / name)
        found = frame[frame["side"] == "proponent"]["row"].tolist()
        assert found == wanted, name
    told = cli("trace", run, *ASKED, "--format", "csv", "--top", 2)
    assert told.out.splitlines()[0].startswith(
        "query,method,unit,side,rank,score,removal,percentile"
    )
    assert cli("trace", run, *ASKED, "--format", "parquet").code == 2
    assert cli("trace", run, *ASKED, "--out", tmp_path / "a.xls").code == 2


def test_sums_over_a_column_and_tokens_are_shown(run, cli):
    told = cli("trace", run, *ASKED, "--by", "source", "--tokens", "--top", 2)
    assert told.code == 0, told.err
    assert "by source, influence" in told.out
    assert "site-1" in told.out
    assert "which tokens carry it" in told.out
    held = json.loads(
        cli("trace", run, *ASKED, "--by", "source", "--tokens", "--top", 2, "--format", "json").out
    )[0]
    assert len(held["tokens"]) == 2
    one = held["tokens"][0]
    assert sum(t["value"] for t in one["train"]) == pytest.approx(one["score"], rel=1e-2)
    assert sum(s["rows"] for s in held["by"][AT_THE_END]) == 20
    told = cli("trace", run, *ASKED, "--by", "nope")
    assert told.code == 2
    assert "no training row has a column 'nope'" in told.err
    told = cli("trace", run, *ASKED, "--tokens", "--methods", "bm25")
    assert told.code == 2
    assert "bm25 says nothing of single tokens" in told.err


def test_many_questions_from_a_file_have_verdicts(run, elsewhere, cli):
    told = cli("trace", run, "--queries", elsewhere / "q.jsonl", "--top", 2)
    assert told.code == 0, told.err
    assert told.out.count("this answer:") == 3
    assert "q.jsonl:2" in told.out


def test_a_budget_picks_methods(elsewhere, cli, tmp_path):
    command = ("trace", elsewhere / "their-adapter", "--data", elsewhere / "train.jsonl", *ASKED)
    roomy = cli(*command, "--run", tmp_path / "roomy", "--budget", "10min", "--format", "json")
    assert roomy.code == 0, roomy.err
    methods = list(dict.fromkeys(line["method"] for line in json.loads(roomy.out)))
    assert methods == [AT_THE_END, "for_value", "repsim(position=mean_response)", "bm25"]
    tight = cli(*command, "--run", tmp_path / "tight", "--budget", "0.0001s", "--format", "json")
    assert tight.code == 0, tight.err
    assert {line["method"] for line in json.loads(tight.out)} == {"bm25"}
    assert "left out" in tight.err


# Which method leads


def test_the_default_leads_unless_a_run_was_made_for_influence_alone(elsewhere, cli, tmp_path):
    # the words that commands are given where nobody chooses are those of a config
    assert split_specs(METHODS) == list(RunConfig(data="x").methods)
    command = ("trace", elsewhere / "their-adapter", "--data", elsewhere / "train.jsonl", *ASKED)
    made = cli(*command, "--run", tmp_path / "made", "--format", "json")
    assert {line["method"] for line in json.loads(made.out)} == {AT_THE_END}
    run = Run.open(tmp_path / "made")
    assert run.leading == AT_THE_END
    for methods, leading in (
        (("fast",), "influence"),
        (("fast", AT_THE_END), AT_THE_END),
        (("bm25",), AT_THE_END),
    ):
        changed = run.changed(run.config.model_copy(update={"methods": methods}))
        assert changed.leading == leading


def test_along_the_run_leads_where_there_are_checkpoints(tiny_folder, cli, tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(12)))
    tuned = ("finetune", "--data", data, "--model", tiny_folder, "--epochs", 5, "--rank", 2)
    assert cli(*tuned, "--out", tmp_path / "run").code == 0
    run = Run.open(tmp_path / "run")
    assert run.leading == DEFAULT_METHOD
    for methods, leading in ((("bm25",), DEFAULT_METHOD), (("fast",), "influence")):
        changed = run.changed(run.config.model_copy(update={"methods": methods}))
        assert changed.leading == leading
    told = cli("trace", tmp_path / "run", *ASKED, "--tokens", "--format", "json")
    assert told.code == 0, told.err
    held = json.loads(told.out)[0]
    one = held["tokens"][0]
    assert one["method"] == DEFAULT_METHOD
    assert held["rows"][0]["removal"] is not None
    assert sum(t["value"] for t in one["train"]) == pytest.approx(one["score"], rel=1e-2)
