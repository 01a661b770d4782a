"""`wherefrom check` and the verdict of a trace where something is missing, odd, stale or hostile."""

import json
import random
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace

import numpy as np
import pytest

from test_planted_faults import rows
from tiny import save_tiny, write_jsonl
from wherefrom.diagnose import read_trust
from wherefrom.errors import IdentityError, SettingError
from wherefrom.run import CheckPlan, Run, check, make_config, trust_of

N, Q = 24, 10
TUNING = {"epochs": 3, "learning_rate": 0.01, "rank": 4, "dropout": 0.0, "precision": "float32"}
QUICK = CheckPlan(queries=2, draws=3, randomised=False)


class Runs:
    """Makes runs of one tiny model in a folder."""

    def __init__(self, folder, model):
        self.folder, self.model = folder, model

    def make(self, name, train=None, queries=None, *, model=None, index=None, **changes):
        data = self.folder / f"{name} rows"
        data.mkdir()
        entries = {
            "model": str(model or self.model),
            "data": str(write_jsonl(data / "train.jsonl", train or rows(0, N))),
            "queries": str(write_jsonl(data / "queries.jsonl", queries or rows(48, Q))),
            "methods": ("influence",),
            "index": {"checkpoints": 2, "batch_tokens": 4096} | (index or {}),
        }
        if "adapter" not in changes:
            entries["finetune"] = TUNING | changes.pop("finetune", {})
        run = Run.create(self.folder / name, make_config("tests", **(entries | changes)))
        run.finetune()
        return run

    def indexed(self, name, *rest, **changes):
        run = self.make(name, *rest, **changes)
        run.index()
        return run


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_folder):
    return Runs(tmp_path_factory.mktemp("edges"), tiny_folder)


@pytest.fixture(scope="module")
def made(runs):
    return runs.indexed("made").path


@pytest.fixture
def copied(made, tmp_path):
    return shutil.copytree(made, tmp_path / "copied")


@pytest.fixture
def elsewhere(runs, made, tmp_path):
    """A run of an adapter with nothing beside it, and the adapter's folder."""
    adapter = shutil.copytree(made / "adapter", tmp_path / "from elsewhere" / "adapter")
    here = Runs(tmp_path, runs.model)
    return here.indexed("external", adapter=str(adapter)).path, adapter


def said(trust):
    return {one.check: one for one in trust.findings}


# what a run may be


@pytest.mark.parametrize(
    "changes",
    [
        {
            "finetune": {"mode": "full", "learning_rate": 0.003},
            "index": {"blocks": "q_proj|v_proj"},
        },
        {"finetune": {"optimizer": "sgd"}},
        {"finetune": {"epochs": 1}},
        {"recipe": "paper-1", "also": ("sound-1",)},
    ],
    ids=["full", "sgd", "one epoch", "paper"],
)
def test_kinds_of_fine_tunes_are_checked_to_the_end(runs, changes, tmp_path):
    run = Runs(tmp_path, runs.model).make("run", **changes)
    trust = check(run, QUICK)
    assert len(trust.traces) == 2
    assert all(one.verdict.number is not None and one.spot for one in trust.traces)
    assert said(trust)["rows-fit"].level != "unknown"


@pytest.mark.parametrize("kind", ["gpt2", "neox", "gemma"])
def test_other_architectures_are_checked_without_a_chat_template(tmp_path, kind):
    here = Runs(tmp_path, save_tiny(tmp_path / kind, kind, chat=False))
    trust = check(here.make("run"), QUICK)
    assert all(one.verdict.number is not None for one in trust.traces)
    unknown = said(trust)["template"]
    assert unknown.level == "unknown"
    assert unknown.measured.endswith("the tokenizer has no chat template")


def test_a_run_that_was_never_indexed_is_passed_over_by_the_check(runs, copied, tmp_path):
    run = Runs(tmp_path, runs.model).make("run", methods=("bm25",))
    plan = replace(QUICK, method="influence")
    trust, known = check(run, plan), check(Run.open(copied), plan)
    assert [one.verdict.number for one in trust.traces] == pytest.approx(
        [one.verdict.number for one in known.traces], abs=1e-6
    )


def test_an_adapter_from_elsewhere_is_checked_as_far_as_it_goes(elsewhere):
    trust = check(Run.open(elsewhere[0]), QUICK)
    # no state but the last is known, and that one tells
    for one in trust.traces:
        assert one.verdict.features["predicted_along"] is None
        assert one.verdict.number is not None
    assert trust.verdict.number is not None
    found = said(trust)
    assert found["rows-fit"].level != "unknown"
    assert found["base-model"].measured.startswith("not measured: ")
    with pytest.raises(SettingError, match="other seeds"):
        check(Run.open(elsewhere[0]), CheckPlan(seeds=1))


def test_rows_that_are_all_alike_make_no_number_that_is_none(runs, tmp_path):
    same = [{"id": f"s{i}", "prompt": "Tell me", "response": "Yes."} for i in range(12)]
    trust = check(Runs(tmp_path, runs.model).make("same", same), CheckPlan(queries=2, draws=3))
    found = said(trust)
    texts = [one.measured for one in trust.findings] + [
        reason for one in trust.traces for reason in one.verdict.reasons
    ]
    assert not [text for text in texts if "nan" in text.split() or "nan." in text]
    assert found["duplicates"].level == "warning"
    for name in ("base-model", "families", "randomised", "lexical"):
        assert found[name].level == "unknown"
    assert "same score" in found["families"].measured
    # no row is blamed for being first where all rows are
    assert found["outliers"].level == "good"


@pytest.mark.parametrize("count", [2, 3])
def test_a_handful_of_rows_and_one_query(runs, tmp_path, count):
    run = Runs(tmp_path, runs.model).make("few", rows(0, count), rows(48, 1))
    trust = check(run, QUICK)
    assert trust.k == 1
    assert trust.traces[0].verdict.number is not None


def test_of_one_row_a_trace_still_answers(runs, tmp_path):
    run = Runs(tmp_path, runs.model).indexed("one", rows(0, 1))
    answer = run.trace("Tell me", "No.")
    assert answer.top(1).indices.tolist() == [[0]]
    assert answer.trust.verdict.word == "cannot tell"
    assert "one training row" in answer.trust.verdict.reasons[0]
    with pytest.raises(SettingError, match="one training row"):
        check(run)


# methods


@pytest.mark.parametrize("spec", ["ekfac", "tracin", "less", "rept", "influence(minus_base=true)"])
def test_a_method_that_was_not_indexed_is_captured_and_gives_its_own_answers(copied, spec):
    trust = check(Run.open(copied), CheckPlan(spec, k=2, queries=3, draws=3, randomised=False))
    run = Run.open(copied).changed(
        Run.open(copied).config.model_copy(update={"methods": ("influence", spec)})
    )
    run.index()
    scores = run.score()["sound-1", trust.method]
    for one in trust.traces:
        line = scores.values[scores.query_ids.index(one.query)]
        assert one.rows == tuple(scores.train_ids[i] for i in np.argsort(-line)[:2])
    # what the run had been indexed for is as it was
    assert Run.open(copied).card.entries.get("left out", {}) == {}


def test_a_method_of_the_whole_run_says_why_one_state_cannot_be_asked(copied):
    plan = CheckPlan("source", queries=1, verify=False, checks=("base-model", "self-retrieval"))
    for one in check(Run.open(copied), plan).findings:
        assert one.level == "unknown"
        assert "no checkpoints were captured" not in one.measured or one.check == "self-retrieval"
        assert "source: source" not in one.measured


@pytest.mark.parametrize("spec", ["unrolled", "bayesian", "contrastive"])
def test_a_method_that_takes_more_than_passes_is_refused_with_the_command(copied, spec):
    with pytest.raises(SettingError, match=f'wherefrom index .* --methods "influence,{spec}"'):
        check(Run.open(copied), CheckPlan(spec))


def test_a_method_that_cannot_run_here_says_why(elsewhere):
    with pytest.raises(SettingError, match="tracin cannot be checked here: needs checkpoints"):
        check(Run.open(elsewhere[0]), CheckPlan("tracin"))


# what is kept


def test_a_check_that_was_killed_goes_on_where_it_stopped(made, copied, tmp_path):
    command = [sys.executable, "-m", "wherefrom", "check", str(copied), "--query-limit", "2"]
    command += ["--draws", "3", "--no-randomised"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        for line in running.stderr:
            if line.startswith("index train at step"):
                break
        running.kill()
    assert not (copied / "check.json").exists()
    base = copied / "signals" / "sound-1" / "base"
    before = {path: path.stat().st_mtime_ns for path in base.rglob("*") if path.is_file()}
    trust = check(Run.open(copied), QUICK)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    known = check(Run.open(shutil.copytree(made, tmp_path / "whole")), QUICK)
    assert [one.verdict.number for one in trust.traces] == [
        one.verdict.number for one in known.traces
    ]


def test_a_check_of_another_pass_is_out_of_date_and_can_be_made_again(copied, cli):
    check(Run.open(copied), QUICK)
    assert trust_of(Run.open(copied)).verdict.word != "cannot tell"
    assert cli("index", copied, "--restart").code == 0
    assert len(trust_of(Run.open(copied)).findings) > 1
    assert cli("index", copied, "--restart", "--precision", "bfloat16").code == 0
    late = trust_of(Run.open(copied))
    assert (late.verdict.word, late.findings, late.traces) == ("cannot tell", [], [])
    assert "out of date" in late.verdict.reasons[0]
    assert "wherefrom check" in late.verdict.reasons[0]
    page = cli("report", copied).out.strip()
    with open(page, encoding="utf-8") as opened:
        assert "out of date" in opened.read()
    # what the first check captured of other states and kinds is of the old pass, and made anew
    trust = check(Run.open(copied), QUICK)
    assert all(one.verdict.number is not None for one in trust.traces)
    assert trust_of(Run.open(copied)).to_json() == read_trust(copied / "check.json").to_json()


def test_signals_of_an_adapter_that_was_replaced_are_refused(elsewhere, runs, tmp_path, cli):
    folder, adapter = elsewhere
    check(Run.open(folder), QUICK)
    other = Runs(tmp_path, runs.model).make("other", finetune={"seed": 5}, seed=5)
    shutil.rmtree(adapter)
    shutil.copytree(other.path / "adapter", adapter)
    with pytest.raises(IdentityError, match="--restart"):
        check(Run.open(folder), QUICK)
    assert cli("index", folder, "--restart").code == 0
    assert trust_of(Run.open(folder)).verdict.word == "cannot tell"
    assert "model changed" in trust_of(Run.open(folder)).verdict.reasons[0]
    assert said(check(Run.open(folder), QUICK))["rows-fit"].level != "unknown"


def test_a_verdict_on_a_part_of_the_checks_says_so(copied):
    trust = check(Run.open(copied), CheckPlan(queries=1, verify=False, checks=("weights",)))
    assert trust.verdict.reasons[-1].endswith("only these were made: weights")


# results


def test_batches_padding_and_the_order_of_rows_change_nothing(runs, made, tmp_path):
    here = Runs(tmp_path, runs.model)
    shuffled = rows(0, N)
    random.Random(1).shuffle(shuffled)
    variants = {
        "plain": {},
        "small": {"index": {"batch_tokens": 64}},
        "left": {"index": {"batch_tokens": 200, "padding_side": "left"}},
        "queries": {"queries": rows(48, Q)[::-1]},
        "rows": {"train": shuffled},
    }
    plan = CheckPlan(queries=None, checks=COMPARED)
    found = {
        name: check(here.make(name, adapter=str(made / "adapter"), **changes), plan)
        for name, changes in variants.items()
    }
    wanted = found.pop("plain")
    assert {one.level for one in wanted.findings} != {"unknown"}
    for trust in found.values():
        known = {one.query: one for one in trust.traces}
        for one in wanted.traces:
            assert known[one.query].rows == one.rows
            number = known[one.query].verdict.number
            assert number == pytest.approx(one.verdict.number, abs=1e-3)
        for one, other in zip(wanted.findings, trust.findings, strict=True):
            assert (one.check, one.level) == (other.check, other.level)
            left, right = dict(numbers(one.values)), dict(numbers(other.values))
            assert left.keys() == right.keys()
            assert right == pytest.approx(left, rel=5e-3, abs=1e-4), one.check


COMPARED = ("weights", "rows-fit", "loss-mask", "duplicates", "outliers", "families", "base-model")
COMPARED += ("lexical", "self-retrieval", "convergence", "curvature-agreement", "curvature-energy")
COMPARED += ("behaviour", "precision", "randomised")


def numbers(values, at=""):
    """Numbers in nested values, by where they are."""
    if isinstance(values, dict):
        for name, one in values.items():
            yield from numbers(one, f"{at}/{name}")
    elif isinstance(values, list | tuple):
        for place, one in enumerate(values):
            yield from numbers(one, f"{at}/{place}")
    elif isinstance(values, int | float):
        yield at, float(values)


# what is printed


def test_the_verdict_of_a_trace_is_in_its_json(copied, cli):
    asked = ("trace", copied, "--prompt", "Tell me about the sea", "--response", "It is deep.")
    more = ("--methods", "influence,bm25", "--top", 1, "--format", "json")
    lines = json.loads(cli(*asked, *more).out)
    (reason, mend) = lines[0]["verdict_reasons"]
    assert lines[0]["method"] == "influence"
    assert "influence at the end" in reason
    assert "wherefrom check" in mend
    assert {line["verdict"] for line in lines if line["method"] == "bm25"} == {None}
    # a check makes the passes that were missing
    check(Run.open(copied), QUICK)
    (first, *_) = json.loads(cli(*asked, *more, "--verify").out)
    answer = Run.open(copied).trace(asked[3], asked[5], verify=True).trust
    assert first["verdict"] == answer.verdict.word
    assert first["verdict_number"] == pytest.approx(answer.verdict.number, abs=1e-6)
    assert first["verdict_reasons"] == list(answer.verdict.reasons)
    assert len(first["spot_check"]["random"]) == 20
    header = cli(*asked, "--format", "md").out.splitlines()[0]
    assert header.endswith("| verdict | verdict_number |")


def test_hostile_ids_and_texts_stay_in_their_place(runs, tmp_path, cli):
    bad = ("\x1b[31mred\x07", "\u202eevil", "<script>alert(1)</script>", "[bold]m", "x" * 2000)
    bad += ("| a |\n## b", "\U0001f600 n\u00e9e")

    def spoilt(held):
        return [
            row
            | {
                "id": f"{row['id']} {bad[i % len(bad)]}",
                "prompt": f"{row['prompt']} {bad[i % len(bad)][:100]}",
            }
            for i, row in enumerate(held)
        ]

    here = Runs(tmp_path, runs.model)
    run = here.make("hostile", spoilt(rows(0, N)), spoilt(rows(48, Q)))
    quick = ("--query-limit", 8, "--draws", 2, "--no-randomised")
    for form in ("table", "json", "md"):
        called = cli("check", run.path, *quick, "--format", form)
        assert called.code == 0
        for stream in (called.out, called.err):
            kinds = {c for c in stream if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co")}
            assert kinds <= {"\n"}
    page = cli("report", run.path).out.strip()
    with open(page, encoding="utf-8") as opened:
        text = opened.read()
    assert "<script>alert" not in text
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--k", N), "lower --k"),
        (("--method", "bogus"), "no method is called 'bogus'"),
        (("--checks", "bogus"), "no check is called 'bogus'"),
        (("--method", "influence(damping=-1)"), "damping"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(copied, cli, more, message):
    called = cli("check", copied, *more)
    assert called.code == 2
    assert called.err.splitlines()[-1].startswith("error: ")
    assert message in called.err
    assert not (copied / "check.json").exists()
