"""Checking a run end to end: the verdicts, the spot check, what is kept, and a traced answer's verdict."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from judged import make_run
from wherefrom.cli import _main
from wherefrom.counterfactual import Ending, tail_patch
from wherefrom.diagnose import GROUPS, LEVELS, WORDS, list_checks, read_trust
from wherefrom.errors import SettingError
from wherefrom.run import CheckPlan, Run, check
from wherefrom.run._answer_check import spots_of
from wherefrom.run._ask import ask_queries
from wherefrom.run._check import bare_subject, whole_subject


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("checked"), tiny_folder)


@pytest.fixture(scope="module")
def checked(made):
    """The run and its trust."""
    return made, check(made, CheckPlan(k=2, seeds=1))


def test_every_check_is_made_and_every_query_judged(checked):
    run, trust = checked
    assert {one.check for one in trust.findings} == set(list_checks())
    assert [one.group for one in trust.findings] == sorted(
        (one.group for one in trust.findings), key=GROUPS.index
    )
    assert all(one.level in LEVELS for one in trust.findings)
    assert [one.query for one in trust.traces] == [query.id for query in run.queries]
    scores = {one.method: one for one in run.score().values()}["influence"]
    for q, one in enumerate(trust.traces):
        assert one.verdict.word in WORDS
        assert 0 < one.verdict.number < 1
        best = np.argsort(-scores.values[q])[:2]
        assert one.rows == tuple(scores.train_ids[i] for i in best)
        assert len(one.spot.random) == 20
        beaten = sum(value >= one.spot.gain for value in one.spot.random)
        assert one.spot.p_value == pytest.approx((1 + beaten) / 21)


def test_what_is_measured_of_a_run_that_wherefrom_made(checked):
    _, trust = checked
    unknown = {one.check for one in trust.findings if one.level == "unknown"}
    assert unknown <= {"template", "projection"}


def test_check_json_is_strict_json_and_reads_back(checked):
    run, trust = checked

    def refuse(text):
        raise AssertionError(text)

    text = (run.path / "check.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=refuse)
    kept = read_trust(run.path / "check.json")
    assert [one.check for one in kept.findings] == [one.check for one in trust.findings]
    assert [one.verdict.number for one in kept.traces] == [
        one.verdict.number for one in trust.traces
    ]


def test_the_spot_check_is_a_tail_patch_at_its_rate(made):
    recipe = made.config.recipes()[0]
    plan = CheckPlan(k=2, randomised=False)
    subject = whole_subject(made, recipe, plan, bare_subject(made, recipe, plan))
    found = spots_of(made, subject, made.queries, 20)
    settings = made.config.finetune
    asked = ask_queries(made, made.queries, "log_probability", [settings.seed])
    ending = replace(Ending.saved(made.trajectory), rate=0.15 * settings.learning_rate)
    scores = [subject.scores(spec) for spec in ("influence", "bm25", "tfidf")]
    patched = tail_patch(asked, scores, ending, 2)
    for q, query in enumerate(made.queries):
        spot = found[query.id]
        own, *words = (patched[one.method].drop[q] for one in scores)
        assert spot.gain == pytest.approx(own, abs=1e-6)
        assert spot.lexical == pytest.approx(words, abs=1e-6)
        beaten = sum(gain >= spot.gain for gain in spot.random)
        assert spot.p_value == pytest.approx((1 + beaten) / 21)


def test_a_second_check_passes_over_nothing(checked, monkeypatch):
    run, trust = checked
    monkeypatch.setattr("wherefrom.run._index_stage._pass_over", None)
    again = check(Run.open(run.path), CheckPlan(k=2))
    assert [one.verdict.number for one in again.traces] == pytest.approx(
        [one.verdict.number for one in trust.traces]
    )


def test_a_traced_query_gets_the_verdict_that_it_has_in_the_check(checked):
    run, trust = checked
    query, known = run.queries[1], trust.traces[1]
    answer = Run.open(run.path).trace(query.prompt, query.response, verify=True)
    found = answer.trust
    # an answer here is a twentieth of twelve rows, one; the spot check's sets are of that size
    assert found.rows == known.rows[:1]
    assert found.spot is not None
    assert found.verdict.word in WORDS
    assert found.verdict.features["stable"] is not None
    assert run.trace(query.prompt, query.response).trust.spot is None


def test_a_trace_of_an_index_without_earlier_states_still_has_a_verdict(made, tmp_path):
    folder = shutil.copytree(made.path, tmp_path / "bare")
    for state in (folder / "signals" / "sound-1").iterdir():
        if state.name != "final":
            shutil.rmtree(state)
    query = made.queries[0]
    found = Run.open(folder).trace(query.prompt, query.response).trust
    assert found.verdict.features["predicted_along"] is None
    assert found.verdict.features["predicted_at_end"] is not None
    assert found.verdict.word in WORDS


def test_other_seeds_are_runs_of_their_own(checked):
    run, trust = checked
    found = {one.check: one for one in trust.findings}["seeds"]
    assert found.level != "unknown"
    other = Run.open(run.path / "seeds" / "seed-001")
    assert other.config.finetune.seed == run.config.finetune.seed + 1
    assert [row.id for row in other.train] == [row.id for row in run.train]


def test_queries_are_needed(made, tmp_path):
    folder = shutil.copytree(made.path, tmp_path / "none")
    (folder / "data" / "queries.jsonl").write_text("", encoding="utf-8")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    card["rows"].pop("queries digest")
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(SettingError, match="--queries"):
        check(Run.open(folder))


def test_the_verb_prints_the_verdict_and_json(checked, capsys, monkeypatch):
    run, _ = checked
    shown = ["wherefrom", "check", str(run.path), "--k", "2", "--no-randomised"]
    for more in ([], ["--format", "json"]):
        monkeypatch.setattr("sys.argv", [*shown, *more])
        with pytest.raises(SystemExit) as stop:
            _main.main()
        assert not stop.value.code
        said = capsys.readouterr().out
        if more:
            assert json.loads(said)["verdict"]["word"] in WORDS
        else:
            assert any(word in said for word in WORDS)
            assert "rows-fit" in said
