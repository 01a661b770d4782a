"""A user's mistake on the command line: exit status 2, one line that names it, nothing written."""

import subprocess
import sys

import numpy as np
import pytest

from test_data_readers import BAD_FILES, GOOD, write_bad
from tiny import row_dicts, save_tiny, tiny_rows, write_jsonl


def assert_refused(called, *fragments):
    assert called.code == 2, called
    errors = [line for line in called.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, called.err
    assert "Traceback" not in called.err
    assert called.out == ""
    for fragment in fragments:
        assert fragment in called.err


def good_rows(folder):
    return write_jsonl(folder / "good.jsonl", row_dicts(tiny_rows(4)))


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_training_rows_end_in_one_line_and_leave_no_run(cli, tmp_path, name):
    path, fragments = write_bad(tmp_path, name)
    out = tmp_path / "run"
    assert_refused(cli("finetune", "--data", path, "--out", out, "--model", "x"), *fragments)
    assert not out.exists()


@pytest.mark.parametrize("name", ["missing", "broken JSON line", "null field", "empty response"])
def test_bad_queries_and_bad_rows_of_index_are_refused_alike(cli, tmp_path, name):
    path, fragments = write_bad(tmp_path, name)
    good, out = good_rows(tmp_path), tmp_path / "run"
    common = ["--model", "x"]
    made = cli("finetune", "--data", good, "--queries", path, "--out", out, *common)
    assert_refused(made, *fragments)
    assert_refused(cli("index", out, "--data", path, *common), *fragments)
    assert not out.exists()


def test_the_real_program_prints_no_traceback_either(tmp_path):
    path, fragments = write_bad(tmp_path, "null field")
    command = [
        sys.executable,
        "-m",
        "wherefrom",
        "finetune",
        "--data",
        path,
        "--out",
        tmp_path / "r",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: t.jsonl:2")
    for fragment in fragments:
        assert fragment in done.stderr


def test_a_hub_name_without_the_hub_is_refused(cli, tmp_path):
    called = cli("finetune", "--data", "nobody/no-such-data", "--out", tmp_path / "r")
    assert_refused(called, "nobody/no-such-data: no such file here", "while online")


# name: (command, what the message must hold); {good}, {tiny} and {out} are filled in
FINETUNE = "finetune --data {good} --out {out} --model {tiny}"
INDEX = "index {out} --data {good} --model {tiny}"
BAD_SETTINGS = {
    "unknown shape": (FINETUNE + " --shape trl", ["'trl'", "messages, sharegpt"]),
    "unknown recipe": (FINETUNE + " --recipe sound-9", ["'sound-9'", "sound-1, paper-1"]),
    "unknown mask": (FINETUNE + " --mask all", ["mask", "'prompt+response'"]),
    "unknown mode": (FINETUNE + " --mode qlora", ["finetune.mode", "'lora' or 'full'"]),
    "unknown method": (FINETUNE + " --methods magic", ["'magic'", "gradient_dot"]),
    "unknown setting": (FINETUNE + " --methods influence(x=1)", ["no setting 'x'", "damping"]),
    "bad setting": (FINETUNE + " --methods influence(damping=big)", ["number", "'big'"]),
    "no method": (FINETUNE + " --methods ,", ["no method was chosen"]),
    "bad rate": (FINETUNE + " --learning-rate 0", ["finetune.learning_rate", "greater than 0"]),
    "unknown template": (FINETUNE + " --template mine", ["auto, chat or plain, not 'mine'"]),
    "bad precision": (INDEX + " --precision fp8", ["precision", "'float32' or 'bfloat16'"]),
    "bad blocks": (INDEX + " --blocks (", ["--blocks '('", "no regular expression"]),
    "no such block": (INDEX + " --blocks nothing", ["'nothing'", "matches no trainable"]),
    "strict": (INDEX + " --strict", ["--strict:", "not traced: model.embed_tokens.weight"]),
    "adapter without data": ("index {out} --adapter {tiny}", ["--adapter", "with --data"]),
    "no adapter there": (INDEX + " --adapter {tiny}", ["no adapter_config.json", "PEFT"]),
    "no model there": (
        "finetune --data {good} --out {out} --model ./nowhere",
        ["./nowhere: no such folder"],
    ),
    "no GGUF there": (
        "finetune --data {good} --out {out} --model x.gguf",
        ["x.gguf: no such file"],
    ),
    "unknown hub model": (
        "finetune --data {good} --out {out} --model nobody/no-such-model",
        ["'nobody/no-such-model'", "builtin:smollm2-135m"],
    ),
    "no run to index": ("index {out}", ["no run here"]),
    "no run to trace": ("trace {out} --prompt x", ["no such folder", "adapter"]),
    "no run to report": ("report {out}", ["no run here"]),
    "no config to replay": ("replay {good}.yaml --out {out}", ["good.jsonl.yaml: no such file"]),
    "not a config": ("replay {good} --out {out}", ["good.jsonl"]),
    "unknown task": ("study nope --model {tiny} --out {out}", ["'nope'", "grammars"]),
    "no scores there": ("evaluate --scores s.csv --data {tiny}", ["has no file train.jsonl"]),
}


@pytest.mark.parametrize(("command", "fragments"), BAD_SETTINGS.values(), ids=BAD_SETTINGS)
def test_bad_settings_are_refused(cli, tmp_path, tiny_folder, command, fragments):
    places = {"good": good_rows(tmp_path), "tiny": tiny_folder, "out": tmp_path / "run"}
    called = cli(*(part.format(**places) for part in command.split()))
    assert_refused(called, *fragments)
    assert not list(tmp_path.rglob("signals"))


@pytest.mark.parametrize(
    "command",
    ["", "frobnicate", "list nothing", "finetune", "finetune --data x --out y --epochs 0", "trace"],
)
def test_what_cannot_be_parsed_shows_the_usage_and_exits_2(cli, command):
    called = cli(*command.split())
    assert called.code == 2
    assert "Usage:" in called.out + called.err
    assert "Traceback" not in called.err


def test_a_folder_of_somebody_else_is_left_alone(cli, tmp_path, tiny_folder):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "chapter1.txt").write_text("years of work")
    good = good_rows(tmp_path)
    for command in (
        ["finetune", "--data", good, "--out", out, "--model", tiny_folder],
        ["index", out, "--data", good, "--model", tiny_folder, "--restart"],
    ):
        assert_refused(cli(*command), "is not empty and is no run folder", "another --out")
    assert [path.name for path in out.iterdir()] == ["chapter1.txt"]


def test_a_row_without_any_of_its_response_left_is_named(cli, tmp_path, tiny_folder):
    rows = [*row_dicts(tiny_rows(3)), {"id": "long", "prompt": "far " * 99, "response": "x"}]
    path = write_jsonl(tmp_path / "t.jsonl", rows)
    called = cli(
        *("finetune", "--data", path, "--out", tmp_path / "r", "--model", tiny_folder),
        *("--max-length", 90),
    )
    assert_refused(called, "t.jsonl:4 (id 'long')", "within 90 tokens", "--max-length")
    assert not (tmp_path / "r" / "adapter").exists()


def test_a_model_without_a_chat_template_cannot_be_asked_for_one(cli, tmp_path):
    plain = save_tiny(tmp_path / "plain", chat=False)
    called = cli(
        *("finetune", "--data", good_rows(tmp_path), "--out", tmp_path / "r", "--model", plain),
        *("--template", "chat"),
    )
    assert_refused(called, "no chat template; use --template plain")


# scores of anyone, judged


@pytest.fixture
def judged(tmp_path):
    """A folder with four labelled training rows and two labelled queries."""
    rows = row_dicts(tiny_rows(6, classes=2))
    write_jsonl(tmp_path / "train.jsonl", rows[:4])
    write_jsonl(tmp_path / "test.jsonl", rows[4:])
    np.savetxt(tmp_path / "good.csv", np.eye(2, 4), delimiter=",")
    return tmp_path


BAD_SCORES = {
    "missing": ("s.csv", None, ["s.csv: no such file"]),
    "text cell": ("s.csv", "1,2,3,4\n1,x,3,4\n", ["not a number"]),
    "NaN": ("s.csv", "1,2,3,4\n1,nan,3,4\n", ["query 'r5'", "training row 'r1'"]),
    "shape": ("s.csv", "1,2\n3,4\n", ["(2, 2)", "2 queries and 4 training rows"]),
    "ids": ("s.csv", "query,r0,r1,r2,x\nr4,1,2,3,4\nr5,1,2,3,4\n", ["training row 'r3'"]),
    "empty": ("s.csv", "", ["not a readable CSV"]),
    "no NPY": ("s.npy", "hello", ["not a readable NPY"]),
    "no Parquet": ("s.parquet", "hello", ["not a readable Parquet"]),
    "ending": ("s.txt", "1", [".csv, .parquet or .npy"]),
}


@pytest.mark.parametrize(("file", "content", "fragments"), BAD_SCORES.values(), ids=BAD_SCORES)
def test_bad_scores_are_refused(cli, judged, file, content, fragments):
    if content is not None:
        (judged / file).write_text(content)
    assert_refused(cli("evaluate", "--scores", judged / file, "--data", judged), *fragments)


def test_a_pickle_among_scores_is_refused(cli, judged):
    np.save(judged / "s.npy", np.array([[{}] * 4] * 2, dtype=object), allow_pickle=True)
    called = cli("evaluate", "--scores", judged / "s.npy", "--data", judged)
    assert_refused(called, "not a readable NPY")


def test_a_query_of_a_class_without_a_training_row_is_refused_naming_it(cli, judged):
    rows = row_dicts(tiny_rows(6, classes=2))[4:]
    rows[1]["label"] = "unheard of"
    write_jsonl(judged / "test.jsonl", rows)
    called = cli("evaluate", "--scores", judged / "good.csv", "--data", judged)
    assert_refused(called, "test.jsonl:2 (id 'r5')", "'unheard of'", "Add one or drop the query")


def test_rows_without_a_class_cannot_be_judged(cli, judged):
    (judged / "train.jsonl").write_text(GOOD * 4)
    called = cli("evaluate", "--scores", judged / "good.csv", "--data", judged)
    assert_refused(called, "train.jsonl:1", "has no class", "variation, label, class or category")


def test_an_unknown_sign_is_refused(cli, judged):
    called = cli("evaluate", "--scores", judged / "good.csv", "--data", judged, "--sign", "up")
    assert called.code == 2
    assert "positive or negative" in called.err
