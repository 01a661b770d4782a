"""`wherefrom retrain`: the same recipe on cleaned rows, and the answers before and after."""

import json
import shutil

import numpy as np
import pytest
import torch

from planted import PLANTED, STRANGE
from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.data import Renderer, read_examples
from wherefrom.errors import DataError, SettingError
from wherefrom.models import load_model
from wherefrom.run import Run, prune, retrain


@pytest.fixture(scope="module")
def cleaned(planted, cli, tmp_path_factory):
    """The planted run pruned and trained again, by the two commands."""
    folder = tmp_path_factory.mktemp("cleaned")
    data, out = folder / "cleaned.jsonl", folder / "clean"
    done = cli(
        *("prune", planted.run, "--queries", planted.bad, "--good", planted.good),
        *("--top", 4, "--out", data),
    )
    assert done.code == 0, done.err
    told = cli(*command(planted, data, out), "--format", "json")
    assert told.code == 0, told.err
    return data, out, json.loads(told.out)


def command(planted, data, out):
    return (
        *("retrain", planted.run, "--data", data, "--queries", planted.bad),
        *("--good", planted.good, "--out", out, "--max-new-tokens", 8),
    )


def test_what_the_planted_rows_taught_is_gone(cleaned):
    _, _, told = cleaned
    bad, good = told["summary"]
    assert (bad["side"], good["side"]) == ("query", "good")
    assert bad["says_before"] == bad["queries"] == 3
    assert bad["says_after"] == 0
    assert bad["before"] > -1
    # as unlikely as it was before anything was taught
    assert bad["after"] < bad["base"] + 1
    for one in told["queries"][:3]:
        assert one["answer_before"] == STRANGE
        assert STRANGE not in one["answer_after"]
    assert told["rows"] == {"before": 16, "after": 12}


def test_log_probabilities_are_those_of_the_three_models(planted, cleaned, tiny_folder):
    _, out, told = cleaned
    run = Run.open(planted.run)
    asked = [*read_examples(planted.bad), *read_examples(planted.good)]
    rows = Renderer(run.model.tokenizer, run.config.recipes()[0]).render_all(asked)
    folders = {"base": tiny_folder, "before": planted.run / "model", "after": out / "model"}
    for name, folder in folders.items():
        model = load_model(str(folder)).model
        for entry, row in zip(told["queries"], rows, strict=True):
            ids = torch.tensor([list(row.ids)])
            with torch.no_grad():
                log_p = model(input_ids=ids).logits[0].double().log_softmax(-1)
            each = [
                log_p[i - 1, row.ids[i]].item() for i in range(1, len(row.ids)) if row.loss_mask[i]
            ]
            assert entry[name] == pytest.approx(np.mean(each), abs=1e-4)


def test_the_recipe_is_the_runs_own_and_only_the_rows_differ(planted, cleaned):
    data, out, _ = cleaned
    old, new = Run.open(planted.run), Run.open(out)
    assert new.config.finetune == old.config.finetune
    for name in ("model", "recipe", "also", "template", "mask", "max_length", "seed", "methods"):
        assert getattr(new.config, name) == getattr(old.config, name)
    assert new.config.data == str(data)
    assert [row.id for row in new.train] == [r.id for r in old.train if r.id not in PLANTED]
    assert [q.id for q in new.queries] == ["q0", "q1", "q2"]
    assert json.loads((out / "card.json").read_text())["retrained from"]["run"] == str(planted.run)


def test_what_was_printed_is_kept_and_the_same_command_trains_no_more(planted, cleaned, cli):
    data, out, told = cleaned
    assert json.loads((out / "retrained.json").read_text()) == told
    before = (out / "model" / "model.safetensors").stat().st_mtime_ns
    again = cli(*command(planted, data, out))
    assert again.code == 0, again.err
    assert (out / "model" / "model.safetensors").stat().st_mtime_ns == before
    assert json.loads((out / "retrained.json").read_text()) == told
    assert "the answer is the response for 3 → 0 of 3" in again.out
    assert "trained on 16 → 12 rows" in again.out
    markdown = cli(*command(planted, data, out), "--format", "md")
    assert markdown.out.startswith("| of | id |")
    # the new run can be asked in its turn
    assert cli("index", out, "--methods", "bm25").code == 0


def test_a_folder_with_a_run_of_other_rows_is_refused(planted, cleaned, cli, tmp_path):
    data, out, _ = cleaned
    shutil.copytree(out, tmp_path / "clean")
    shutil.copy(data, tmp_path / "mine.jsonl")
    other = cli(*command(planted, tmp_path / "mine.jsonl", tmp_path / "clean"))
    assert other.code == 2
    assert "data:" in other.err
    kept = data.read_text()
    try:
        data.write_text("".join(kept.splitlines(keepends=True)[1:]))
        stale = cli(*command(planted, data, out))
    finally:
        data.write_text(kept)
    assert stale.code == 2
    assert "holds a run of other rows than" in stale.err


def test_an_adapter_from_elsewhere_has_no_recipe(planted, cli, tmp_path):
    run = tmp_path / "run"
    made = cli(
        *("index", run, "--model", planted.run / "model", "--data", planted.train),
        *("--methods", "bm25"),
    )
    assert made.code == 0, made.err
    told = cli("retrain", run, "--data", planted.train, "--queries", planted.bad)
    assert told.code == 2
    assert "the recipe of its training is not known" in told.err
    assert "wherefrom finetune --data" in told.err
    assert "Traceback" not in told.err


def test_rows_that_had_to_be_written_anew_are_read_in_their_own_shape(tmp_path, tiny_folder, cli):
    """The run was told a row shape; its file is gone, and the cleaned rows have another."""
    rows = [
        {"id": row["id"], "instruction": row["prompt"], "output": row["response"]}
        for row in row_dicts(tiny_rows(6))
    ]
    data = write_jsonl(tmp_path / "t.jsonl", rows)
    queries = write_jsonl(tmp_path / "q.jsonl", row_dicts(tiny_rows(8))[6:])
    made = cli(
        *("finetune", "--data", data, "--shape", "alpaca", "--model", tiny_folder),
        *("--out", tmp_path / "run", "--epochs", 1, "--rank", 1),
    )
    assert made.code == 0, made.err
    data.unlink()
    run = Run.open(tmp_path / "run")
    found = prune(run, tmp_path / "o.jsonl", rows=["r0"])
    assert found.rewritten
    done = retrain(run, tmp_path / "o.jsonl", queries, max_new_tokens=2)
    assert done.run.path == tmp_path / "run-o"
    assert [row.messages for row in done.run.train] == [row.messages for row in run.train[1:]]
    assert done.run.config.finetune == run.config.finetune
    assert len(done.behaviour) == 2


def test_hostile_answers_do_not_reach_the_terminal(planted, capsys):
    from wherefrom.cli._options import Format
    from wherefrom.cli._print_retrained import print_retrained
    from wherefrom.run._retrain import Behaviour, Retrained

    evil = "\x1b[2J\u202e|<script>"
    one = Behaviour(evil, "query", evil, evil, -2.0, -1.0, -3.0, evil, evil, False, False)
    found = Retrained(Run.open(planted.run), planted.run, 3, 2, (one,))
    for form in (Format.table, Format.md):
        print_retrained(found, form)
        out = capsys.readouterr().out
        assert "\ufffd" in out
        assert not {"\x1b", "\u202e"} & set(out)
    print_retrained(found, Format.json)
    assert json.loads(capsys.readouterr().out)["queries"][0]["answer_after"] == evil


def test_queries_that_cannot_be_read_stop_it_before_anything_is_trained(planted, tmp_path):
    run = Run.open(planted.run)
    (tmp_path / "q.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match=r"q\.jsonl:1"):
        retrain(run, planted.train, tmp_path / "q.jsonl", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    with pytest.raises(SettingError, match="not empty"):
        retrain(run, planted.train, planted.bad, out=tmp_path / "full", max_new_tokens=1)
