"""The verbs on a tiny model: what they write, print and do not do twice."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.errors import SettingError
from wherefrom.run import Run
from wherefrom.scores import read_scores

METHODS = "gradient_dot,influence,bm25,repsim"
VERBS = (
    *("demo", "study", "finetune", "index", "trace"),
    *("counterfactual", "evaluate", "prune", "retrain", "report", "replay", "list"),
)
N_TRAIN, N_QUERIES = 18, 4
HOSTILE = {"\x1b": "terminal escape", "\u202e": "right-to-left override", "\x9b": "C1 escape"}


def stamps(folder, pattern="*"):
    return {
        path.relative_to(folder): path.stat().st_mtime_ns
        for path in folder.rglob(pattern)
        if path.is_file()
    }


def ok(called):
    assert called.code == 0, called
    assert "Traceback" not in called.err
    return called


def refused(called):
    assert called.code == 2, called
    assert sum(line.startswith("error:") for line in called.err.splitlines()) == 1
    assert "Traceback" not in called.err
    return called


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rows = row_dicts(tiny_rows(N_TRAIN + N_QUERIES))
    # the same text under two ids must stay two rows
    rows[1] |= {"prompt": rows[0]["prompt"], "response": rows[0]["response"]}
    write_jsonl(folder / "train.jsonl", rows[:N_TRAIN])
    write_jsonl(folder / "test.jsonl", rows[N_TRAIN:])
    return folder


def tuning(data, tiny_folder, out, *more):
    return [
        *("finetune", "--data", data / "train.jsonl", "--queries", data / "test.jsonl"),
        *("--out", out, "--model", tiny_folder, "--epochs", 2, "--rank", 2),
        *("--methods", METHODS, *more),
    ]


@pytest.fixture(scope="module")
def made(cli, data, tiny_folder, tmp_path_factory):
    """A run that was fine-tuned and indexed; tests copy it before they change it."""
    run = tmp_path_factory.mktemp("runs") / "made"
    ok(cli(*tuning(data, tiny_folder, run)))
    ok(cli("index", run))
    return run


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copied")


def trace(cli, run, *more, response="No fox."):
    said = [] if response is None else ["--response", response]
    return cli("trace", run, "--prompt", "Tell me about fox", *said, "--format", "json", *more)


def traced(cli, run, *more, response="No fox."):
    return json.loads(ok(trace(cli, run, *more, response=response)).out)


# finetune, index


def test_a_run_folder_holds_all_that_the_design_names(made):
    for name in ("run.yaml", "card.json", "data/train.jsonl", "data/queries.jsonl"):
        assert (made / name).is_file()
    assert (made / "adapter" / "adapter_model.safetensors").is_file()
    steps = json.loads((made / "trajectory" / "steps.json").read_text())
    assert len(steps) == 2 * 3
    for epoch in (steps[:3], steps[3:]):
        assert sorted(row for step in epoch for row in step["rows"]) == list(range(N_TRAIN))
    card = json.loads((made / "card.json").read_text())
    counts = {"train": N_TRAIN, "queries": N_QUERIES, "seed": 0}
    assert counts.items() <= card["rows"].items()
    assert {"versions", "hardware", "timings", "model", "coverage"} <= card.keys()


def test_the_same_commands_again_do_nothing_again(cli, data, tiny_folder, made):
    kept = ("trajectory", "adapter", "signals", "data")
    before = [stamps(made / name) for name in kept]
    again = ok(cli(*tuning(data, tiny_folder, made)))
    ok(cli("index", made))
    assert [stamps(made / name) for name in kept] == before
    assert all(before)
    assert "fine-tune: 1/" not in again.err


def test_a_run_of_other_settings_is_refused_naming_both(cli, data, tiny_folder, made):
    before = stamps(made)
    called = refused(cli(*tuning(data, tiny_folder, made, "--learning-rate", 0.1)))
    assert "finetune.learning_rate: the run" in called.err
    assert "has 0.0005, this command has 0.1" in called.err
    assert stamps(made) == before


def test_strict_refuses_an_existing_run_that_is_not_wholly_traced(cli, copied):
    called = refused(cli("index", copied, "--strict", "--blocks", "lora_A", "--restart"))
    assert "--strict:" in called.err
    assert "not traced:" in called.err


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--blocks", "lora_A"], "blocks:"),
        (["--precision", "bfloat16"], "precision:"),
        (["--batch-tokens", 64], "batch plan:"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_options_of_the_pass_are_not_ignored_on_an_existing_run(cli, copied, option, message):
    called = refused(cli("index", copied, *option))
    assert any(line.strip().startswith(message) for line in called.err.splitlines())
    ok(cli("index", copied, *option, "--restart"))


def test_a_method_may_be_added_to_a_run_without_training_or_indexing_again(cli, copied):
    before = [stamps(copied / name) for name in ("trajectory", "adapter", "signals")]
    ok(cli("index", copied, "--methods", f"{METHODS},datainf"))
    ok(cli("report", copied))
    assert [stamps(copied / name) for name in ("trajectory", "adapter", "signals")] == before
    assert (copied / "scores" / "sound-1" / "datainf.parquet").is_file()


def test_truncated_responses_are_counted_and_their_rows_named(cli, tiny_folder, tmp_path):
    rows = row_dicts(tiny_rows(4))
    rows[2]["response"] = "over the hills " * 60
    path = write_jsonl(tmp_path / "t.jsonl", rows)
    called = ok(
        cli(
            *("finetune", "--data", path, "--out", tmp_path / "r", "--model", tiny_folder),
            *("--epochs", 1, "--rank", 1, "--max-length", 120),
        )
    )
    wanted = "1 of 4 training rows are longer than 120 tokens and lost their end: r2."
    assert f"warning: {wanted}" in called.err
    card = json.loads((tmp_path / "r" / "card.json").read_text())
    assert any(wanted in note for note in card["notes"])


def test_weights_that_are_not_traced_are_counted_and_named(cli, data, tiny_folder, tmp_path):
    called = ok(
        cli(
            *("index", tmp_path / "r", "--data", data / "train.jsonl", "--model", tiny_folder),
            *("--blocks", "layers.1.*proj", "--methods", "gradient_dot"),
        )
    )
    assert "warning:" in called.err
    assert "not traced: model.embed_tokens.weight" in called.err


# trace


def test_trace_names_proponents_and_opponents_of_every_method(cli, made):
    lines = traced(cli, made, "--methods", "influence,bm25", "--top", 3)
    assert [(line["method"], line["side"], line["rank"]) for line in lines] == [
        (method, side, rank)
        for method in ("influence", "bm25")
        for side in ("proponent", "opponent")
        for rank in (1, 2, 3)
    ]
    rows = {row.id: row for row in tiny_rows(N_TRAIN)}
    for line in lines:
        assert line["traced_response"] == "No fox."
        assert line["label"] == rows[line["row"]].label
        if line["row"] != "r1":
            assert (line["prompt"], line["response"]) == (
                rows[line["row"]].prompt,
                rows[line["row"]].response,
            )
        assert line["source"] == f"train.jsonl:{int(line['row'][1:]) + 1}"
    scores = [line["score"] for line in lines if line["method"] == "influence"]
    assert scores[:3] == sorted(scores[:3], reverse=True)
    assert scores[3:] == sorted(scores[3:])
    assert scores[0] > scores[3]


def test_the_model_is_asked_where_no_response_is_given(cli, made):
    lines = traced(cli, made, "--top", 2, response=None)
    said = lines[0]["traced_response"]
    assert said
    given = traced(cli, made, "--top", 2, response=said)
    assert [line["row"] for line in given] == [line["row"] for line in lines]


def test_the_table_and_the_markdown_show_the_same_rows(cli, made):
    wanted = [line["row"] for line in traced(cli, made, "--top", 2)]
    common = ["trace", made, "--prompt", "Tell me about fox", "--response", "No fox.", "--top", 2]
    table = ok(cli(*common)).out
    assert table.startswith("response: No fox.\n")
    shown = [line.split() for line in table.splitlines() if line.split()[:1] in (["1"], ["2"])]
    assert [line[5] for line in shown] == wanted
    markdown = ok(cli(*common, "--format", "md")).out.splitlines()
    columns = markdown[0].strip("| ").split(" | ")
    assert columns[:5] == ["query", "method", "unit", "side", "rank"]
    place = columns.index("row")
    assert [line.strip("| ").split(" | ")[place] for line in markdown[2:]] == wanted


def test_the_same_question_gets_the_same_answer_every_time(cli, made):
    answers = [traced(cli, made, "--methods", "influence", "--top", 99) for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]


def test_rows_of_the_same_text_stay_apart_and_score_alike(cli, made):
    lines = traced(cli, made, "--methods", "gradient_dot", "--top", 99)
    assert len({line["row"] for line in lines}) == N_TRAIN
    found = {line["row"]: line["score"] for line in lines}
    assert found["r0"] == pytest.approx(found["r1"], rel=1e-4)


def test_a_data_file_that_changes_after_indexing_changes_no_answer(cli, made, data):
    before = traced(cli, made, "--top", 3)
    kept = (data / "train.jsonl").read_text()
    try:
        lines = kept.splitlines(keepends=True)
        (data / "train.jsonl").write_text("".join(lines[::-1]))
        assert traced(cli, made, "--top", 3) == before
    finally:
        (data / "train.jsonl").write_text(kept)


def test_trace_before_index_makes_the_index_and_python_says_what_to_do(cli, copied):
    before = traced(cli, copied, "--methods", "influence")
    shutil.rmtree(copied / "signals")
    run = Run.open(copied)
    with pytest.raises(SettingError, match=r'Run `wherefrom index .* --methods "influence"` first'):
        run.trace("x", "y")
    called = ok(trace(cli, copied, "--methods", "influence"))
    assert "plan:" in called.err
    again = json.loads(called.out)
    assert [line["row"] for line in again] == [line["row"] for line in before]


# what does not belong together


def change_adapter(run, change):
    path = run / "adapter" / "adapter_model.safetensors"
    weights = load_file(path)
    name = sorted(weights)[0]
    weights[name][0, 0] = change(weights[name][0, 0])
    save_file(weights, path)


def test_an_adapter_that_was_swapped_is_refused_naming_both_digests(cli, copied):
    old = json.loads((copied / "card.json").read_text())["model"]["adapter"]
    before = stamps(copied / "signals")
    change_adapter(copied, lambda weight: weight + 1)
    for command in (["index", copied], ["trace", copied, "--prompt", "x", "--response", "y"]):
        called = refused(cli(*command))
        line = next(line for line in called.err.splitlines() if line.startswith("  adapter:"))
        digests = line.replace("'", " ").split()
        assert old in digests
        assert len({word for word in digests if len(word) == 32}) == 2
    assert stamps(copied / "signals") == before


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_an_adapter_with_a_weight_that_is_no_number_is_refused(cli, copied, bad):
    shutil.rmtree(copied / "signals")
    change_adapter(copied, lambda _: bad)
    called = refused(cli("index", copied))
    assert "lora_A" in called.err
    assert "NaN or Inf" in called.err
    assert not (copied / "signals").exists()


def test_restart_indexes_a_swapped_adapter_anew(cli, copied):
    before = stamps(copied / "signals")
    change_adapter(copied, lambda weight: weight + 1)
    ok(cli("index", copied, "--restart"))
    assert not before.items() & stamps(copied / "signals").items()
    ok(cli("trace", copied, "--prompt", "x", "--response", "y"))


def test_a_damaged_signal_chunk_is_refused_by_trace(cli, copied):
    store = copied / "signals/sound-1/final/train/gradient.zarr"
    path = next(path for path in sorted(store.glob("float32-*/c/**/*")) if path.is_file())
    raw = bytearray(path.read_bytes())
    raw[7] ^= 16
    path.write_bytes(raw)
    called = refused(cli("trace", copied, "--prompt", "x", "--response", "y"))
    assert "damaged" in called.err
    assert "--restart" in called.err


# hostile text


@pytest.fixture(scope="module")
def hostile(cli, tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    rows = row_dicts(tiny_rows(4))
    bad = "".join(HOSTILE)
    rows[0] = {
        "id": f"evil{bad}[31m",
        "prompt": f"clear {bad}[2J the screen </script><script>alert(1)</script>",
        "response": f"all {bad}]0;owned\x07 yours",
        "label": f"c0{bad}",
    }
    write_jsonl(folder / "t.jsonl", rows)
    write_jsonl(folder / "q.jsonl", [rows[0] | {"id": "query"}])
    run = folder / "run"
    ok(
        cli(
            *("finetune", "--data", folder / "t.jsonl", "--queries", folder / "q.jsonl"),
            *("--out", run, "--model", tiny_folder, "--epochs", 1, "--rank", 1),
            *("--methods", "gradient_dot"),
        )
    )
    ok(cli("index", run))
    return run


@pytest.mark.parametrize("form", ["table", "md"])
def test_hostile_text_of_a_row_does_not_reach_the_terminal(cli, hostile, form):
    called = ok(
        cli(
            *("trace", hostile, "--prompt", "x", "--response", "y\x1b[31m", "--top", 4),
            *("--methods", "gradient_dot", "--format", form),
        )
    )
    assert "evil\ufffd" in called.out
    for character in (*HOSTILE, "\x07"):
        assert character not in called.out


def test_json_output_gives_the_rows_text_back_without_a_raw_escape(cli, hostile):
    lines = traced(cli, hostile, "--methods", "gradient_dot", "--top", 4)
    assert any(line["row"].startswith("evil\x1b") for line in lines)
    called = cli("trace", hostile, "--prompt", "x", "--response", "y", "--format", "json")
    assert "\x1b" not in called.out
    assert "\x07" not in called.out


def test_hostile_text_of_a_row_cannot_leave_its_place_in_the_report(cli, hostile):
    page = ok(cli("report", hostile)).out.strip()
    text = Path(page).read_text(encoding="utf-8")
    assert "<script>alert(1)" not in text
    assert "the screen" in text


def test_hostile_text_of_an_error_does_not_reach_the_terminal(cli, tmp_path):
    row = {"prompt": "p", "response": "r", "id": "x\x1b[2J\u202e"}
    path = write_jsonl(tmp_path / "t.jsonl", [row, row])
    called = refused(cli("finetune", "--data", path, "--out", tmp_path / "r", "--model", "x"))
    assert not set(HOSTILE) & set(called.err)


# report, replay


def test_report_is_one_file_that_needs_no_network(cli, copied, tmp_path):
    out = tmp_path / "r.html"
    assert ok(cli("report", copied, "--out", out)).out.strip() == str(out)
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") or page.startswith("<!DOCTYPE html>")
    for outside in ('src="http', 'href="http', "@import", "url(http"):
        assert outside not in page
    for method in METHODS.split(","):
        assert method in page


def test_replay_of_a_config_ends_in_the_same_scores(cli, copied, tmp_path):
    ok(cli("report", copied))
    called = ok(cli("replay", copied / "run.yaml", "--out", tmp_path / "again", "--format", "json"))
    assert {line["method"] for line in json.loads(called.out)} == set(METHODS.split(","))
    for method in METHODS.split(","):
        path = f"scores/sound-1/{method}.parquet"
        first, second = read_scores(copied / path), read_scores(tmp_path / "again" / path)
        assert np.array_equal(first.values, second.values)
        assert first.settings == second.settings


# evaluate


def test_evaluate_reads_both_signs(cli, data, tmp_path):
    train, queries = tiny_rows(N_TRAIN), tiny_rows(N_TRAIN + N_QUERIES)[N_TRAIN:]
    right = np.array([[float(q.label == t.label) for t in train] for q in queries])
    right += np.linspace(0, 0.5, N_TRAIN)
    np.savetxt(tmp_path / "up.csv", right, delimiter=",")
    np.savetxt(tmp_path / "down.csv", -right, delimiter=",")

    def judge(name, *sign):
        scores = tmp_path / f"{name}.csv"
        called = ok(cli("evaluate", "--scores", scores, "--data", data, *sign, "--format", "json"))
        return {line["metric"]: line["value"] for line in json.loads(called.out)}

    best = judge("up")
    assert best["accuracy"] == best["auroc"] == best["average_precision"] == 1.0
    assert judge("down", "--sign", "negative") == best
    assert judge("down")["accuracy"] == judge("up", "--sign", "negative")["auroc"] == 0.0


def test_evaluate_takes_a_run_folder_and_our_own_score_file(cli, copied):
    ok(cli("report", copied))
    scores = copied / "scores/sound-1/bm25.parquet"
    table = ok(cli("evaluate", "--scores", scores, "--data", copied)).out
    assert "accuracy" in table
    assert "bm25" in table
    markdown = ok(cli("evaluate", "--scores", scores, "--data", copied, "--format", "md")).out
    assert markdown.startswith("| method |")


def test_a_class_that_only_a_query_has_is_named(cli, data, tiny_folder, tmp_path):
    rows = [*row_dicts(tiny_rows(1)), {"id": "lone", "prompt": "p", "response": "r", "label": "c9"}]
    write_jsonl(tmp_path / "q.jsonl", rows)
    run = tmp_path / "r"
    options = ["--queries", tmp_path / "q.jsonl", "--methods", "bm25", "--model", tiny_folder]
    ok(cli("index", run, "--data", data / "train.jsonl", *options))
    called = refused(cli("replay", run / "run.yaml", "--out", tmp_path / "again"))
    assert "q.jsonl:2 (id 'lone'): class 'c9' has no training row" in called.err


# study


def test_a_study_trains_once_and_says_the_same_again(cli, tiny_folder, tmp_path):
    command = [
        *("study", "grammars", "--limit", 2, "--query-limit", 1, "--epochs", 1),
        *("--model", tiny_folder, "--methods", "gradient_dot,bm25,repsim"),
        *("--out", tmp_path / "study", "--format", "json"),
    ]
    first = ok(cli(*command))
    run = tmp_path / "study" / "grammars-sound-1-seed0"
    before = {name: stamps(run / name) for name in ("trajectory", "adapter", "signals", "scores")}
    assert all(before.values())
    again = ok(cli(*command))
    assert {name: stamps(run / name) for name in before} == before
    lines = json.loads(first.out)
    assert {line["method"] for line in lines} == {"gradient_dot", "bm25", "repsim"}
    assert {line["task"] for line in lines} == {"grammars"}
    assert {line["queries"] for line in lines} == {10}
    assert {"accuracy", "coverage", "auroc", "distinct_top1"} <= {line["metric"] for line in lines}
    for line in lines:
        # how many rows are ever ranked first is one number, not one a query
        if line["metric"] == "distinct_top1":
            assert line["low"] is line["high"] is None
        else:
            assert line["low"] <= line["value"] <= line["high"]
    assert again.out == first.out
    assert (run / "report.html").is_file()
    assert (tmp_path / "study" / "study.parquet").is_file()


# list, help


@pytest.mark.parametrize("kind", ["methods", "tasks", "models", "metrics", "recipes", "shapes"])
def test_list_gives_what_there_is_as_json_table_and_markdown(cli, kind):
    entries = json.loads(ok(cli("list", kind, "--format", "json")).out)
    assert entries
    names = [entry["name"] for entry in entries]
    assert len(set(names)) == len(names)
    table = ok(cli("list", kind)).out
    markdown = ok(cli("list", kind, "--format", "md")).out
    for name in names:
        assert name in table
        assert f"| {name} |" in markdown
    for entry in entries:
        assert all(value is not None for value in entry.values())


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(cli, verb):
    for flag in ("--help", "-h"):
        called = ok(cli(verb, flag))
        assert "Usage:" in called.out
        assert called.err == ""


def test_the_help_lists_every_verb(cli):
    shown = ok(cli("--help")).out
    for verb in VERBS:
        assert f" {verb} " in shown


def test_help_and_version_do_not_import_torch():
    probe = (
        "import sys\nsys.argv = ['wherefrom', *sys.argv[1:]]\nfrom wherefrom.cli import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'transformers', 'datasets', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for arguments in (["--help"], ["finetune", "--help"], ["--version"]):
        done = subprocess.run(
            [sys.executable, "-c", probe, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def test_the_version_is_that_of_the_package(cli):
    from wherefrom import __version__

    assert ok(cli("--version")).out.strip() == __version__


# what an interrupted or mistaken command leaves behind


@pytest.mark.parametrize("verb", ["index", "trace"])
def test_rows_that_were_changed_inside_the_run_are_refused(cli, copied, verb):
    rows = copied / "data" / "train.jsonl"
    rows.write_text(rows.read_text().replace("fox", "dog"))
    called = refused(cli("index", copied) if verb == "index" else trace(cli, copied))
    assert "was changed after the run was made" in called.err


def test_a_folder_that_was_left_before_the_run_was_whole_does_not_block(
    cli, data, tiny_folder, tmp_path
):
    half = tmp_path / "half"
    (half / "data").mkdir(parents=True)
    (half / ".wherefrom").touch()
    (half / "data" / "train.jsonl").touch()
    ok(cli(*tuning(data, tiny_folder, half)))


def test_a_mistyped_model_does_not_block_the_right_one(cli, data, tiny_folder, tmp_path):
    refused(cli(*tuning(data, "./nowhere", tmp_path / "r")))
    ok(cli(*tuning(data, tiny_folder, tmp_path / "r")))


def test_a_run_that_lost_its_card_entry_or_trajectory_is_made_whole(cli, data, tiny_folder, copied):
    card = copied / "card.json"
    entries = json.loads(card.read_text())
    told = entries.pop("fine-tune")
    card.write_text(json.dumps(entries))
    ok(cli(*tuning(data, tiny_folder, copied)))
    assert json.loads(card.read_text())["fine-tune"] == told
    adapter = copied / "adapter" / "adapter_model.safetensors"
    before = adapter.stat().st_mtime_ns
    shutil.rmtree(copied / "trajectory")
    ok(cli(*tuning(data, tiny_folder, copied)))
    assert (copied / "trajectory" / "steps.json").is_file()
    assert adapter.stat().st_mtime_ns > before


def test_a_refused_option_does_not_change_the_run(cli, copied):
    before = (copied / "run.yaml").read_text()
    refused(cli("index", copied, "--precision", "bfloat16"))
    assert (copied / "run.yaml").read_text() == before
    ok(trace(cli, copied))


def test_an_empty_response_or_prompt_has_nothing_to_explain(cli, copied):
    refused(trace(cli, copied, response=""))
    refused(cli("trace", copied, "--prompt", " ", "--response", "y"))
    refused(cli("trace", copied, "--prompt", "x \udcff", "--response", "y"))


def test_a_traced_response_that_is_cut_off_is_warned_of(cli, copied):
    assert "lost their end" in ok(trace(cli, copied, response="y " * 2000)).err


def test_all_methods_of_a_trace_are_those_of_the_run(cli, copied):
    lines = traced(cli, copied, "--methods", "all")
    assert {line["method"] for line in lines} == set(METHODS.split(","))
    refused(trace(cli, copied, "--methods", ""))


def test_an_adapter_given_by_a_relative_path_is_found_from_elsewhere(
    cli, data, tiny_folder, copied, tmp_path, monkeypatch
):
    monkeypatch.chdir(copied)
    ok(
        cli(
            *("index", tmp_path / "r2", "--data", data / "train.jsonl", "--adapter", "adapter"),
            *("--model", tiny_folder, "--methods", "gradient_dot"),
        )
    )
    monkeypatch.chdir(tmp_path)
    ok(cli("trace", "r2", "--prompt", "x", "--response", "y", "--methods", "gradient_dot"))


def test_hostile_ids_do_not_reach_the_terminal_in_a_warning(cli, data, tiny_folder, tmp_path):
    rows = row_dicts(tiny_rows(3))
    rows[0] |= {"id": "a\x1b[2J", "response": "over the hills " * 60}
    train = write_jsonl(tmp_path / "h.jsonl", rows)
    called = cli(
        *("finetune", "--data", train, "--out", tmp_path / "r", "--model", tiny_folder),
        *("--epochs", 1, "--max-length", 120),
    )
    assert "lost their end" in ok(called).err
    assert "\x1b" not in called.err


def test_what_is_stopped_says_that_it_goes_on(monkeypatch, capsys):
    import wherefrom.cli._main as entry

    def interrupted():
        raise SystemExit(130)

    monkeypatch.setattr(entry, "app", interrupted)
    with pytest.raises(SystemExit):
        entry.main()
    assert "the same command goes on" in capsys.readouterr().err
