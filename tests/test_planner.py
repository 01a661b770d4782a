"""The planner: fewest passes, costs told first, what is left out and why."""

import shutil

import pytest

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.capture import Speed
from wherefrom.errors import SettingError
from wherefrom.methods import Resource, parse_method, select_methods
from wherefrom.run import Run, execute, make_config
from wherefrom.run._planner import Costs, make_plan, parse_duration
from wherefrom.run._states import State, States, merge
from wherefrom.signals import Kind, Need, Side

CHECKPOINTS = (State("step-000004", "folder", 0.1, 4), State("final", None, 0.05, 4))
DRAWS = tuple(State(f"draw-{i:03d}", "folder") for i in range(3))
STATES = States(CHECKPOINTS, State("base", "folder"), DRAWS, "folder")
ALL = frozenset(Resource)


def methods(*specs):
    return [parse_method(spec) for spec in specs]


def passes(*specs, states=STATES):
    return merge({need for m in methods(*specs) for need in m.needs}, states)


def described(plan):
    return [(p.state.name, p.side.value, p.backwards) for p in plan]


def test_methods_share_one_forward_and_one_backward():
    found = passes("gradient_dot", "influence", "datainf", "repsim", "rept", "for_value", "logra")
    assert described(found) == [("final", "train", 1), ("final", "queries", 1)]
    assert {need.kind for need in found[0].needs} == {
        Kind.GRADIENT,
        Kind.HIDDEN,
        Kind.STATE_GRADIENT,
        Kind.ERROR,
    }


def test_another_target_is_another_backward_of_the_same_forward():
    found = passes("influence", "ekfac", "influence(tokens=first5)")
    assert described(found) == [("final", "train", 3), ("final", "queries", 2)]
    assert described(passes("kfac")) == [("final", "train", 2), ("final", "queries", 1)]
    assert described(passes("rept")) == [("final", "train", 1), ("final", "queries", 1)]
    assert described(passes("repsim")) == [("final", "train", 0), ("final", "queries", 0)]
    assert passes("bm25") == []


def test_the_last_checkpoint_is_the_final_model_and_is_not_passed_over_twice():
    found = passes("tracin", "gradient_dot", "dda")
    assert [p[0] for p in described(found)] == ["final"] * 2 + ["step-000004"] * 2 + ["base"] * 2
    assert described(passes("bayesian"))[0] == ("draw-000", "train", 0)
    assert len(passes("bayesian")) == 6
    source = described(passes("source"))
    assert ("step-000004", "queries", 1) not in source
    assert ("final", "queries", 1) in source


def test_reference_answers_are_a_side_of_their_own():
    found = described(passes("contrastive"))
    assert found == [("final", "train", 1), ("final", "queries", 1), ("final", "references", 1)]


def test_what_is_missing_is_named():
    chosen = methods("tracin", "dda", "less", "embedding", "contrastive", "influence", "bm25")
    plan = make_plan(chosen, States(), frozenset())
    assert [m.spec for m in plan.methods] == ["influence", "bm25"]
    assert set(plan.left_out) == {"tracin", "dda", "less", "embedding", "contrastive"}
    assert "adapter from elsewhere" in plan.left_out["tracin"]
    assert "AdamW's moments" in plan.left_out["less"]
    assert "embedding(model=FOLDER)" in plan.left_out["embedding"]
    assert "reference answer" in plan.left_out["contrastive"]


def costs():
    return Costs(
        Speed(forward=0.01, backward=0.02),
        {Side.TRAIN: 1000, Side.QUERY: 100, Side.REFERENCE: 100},
        {Side.TRAIN: 10, Side.QUERY: 2, Side.REFERENCE: 2},
        lambda needs: 1000 * len(needs),
        2e9,
        500,
    )


def test_costs_count_every_token_forward_and_once_back_for_each_target():
    assert costs().seconds(passes("repsim")) == pytest.approx(1100 * 0.01)
    assert costs().seconds(passes("influence")) == pytest.approx(1100 * 0.03)
    assert costs().seconds(passes("kfac")) == pytest.approx(1000 * 0.05 + 100 * 0.03)
    assert costs().seconds(passes("bayesian")) == pytest.approx(3 * 1100 * 0.01 + 500 * 0.03)
    assert costs().disk(passes("repsim", "influence")) == 12 * 2000


def test_a_budget_keeps_the_cheapest_classes_and_names_the_rest():
    chosen = methods("source", "influence", "bm25", "repsim", "ekfac")
    plan = make_plan(chosen, STATES, ALL, costs(), budget=40.0)
    assert [m.spec for m in plan.methods] == ["influence", "bm25", "repsim"]
    assert set(plan.left_out) == {"source", "ekfac"}
    assert "over the budget" in plan.left_out["ekfac"]
    assert make_plan(chosen, STATES, ALL, costs(), budget=1e9).left_out == {}
    tight = make_plan(chosen, STATES, ALL, costs(), budget=0.0)
    assert [m.spec for m in tight.methods] == ["bm25"]


def test_the_plan_says_what_it_will_take():
    plan = make_plan(
        methods("ekfac", "tracin", "bayesian", "embedding"), STATES, ALL - {Resource.EMBEDDER}
    )
    text = "\n".join(plan.describe(costs(), plan.passes))
    assert "3 methods, 10 passes, about" in text
    assert "GB on disk" in text
    assert "GB of memory" in text
    assert "3 draws — train: losses" in text
    assert "embedding: needs a sentence-transformers model" in text


def test_every_method_of_all_fits_a_plan():
    plan = make_plan(select_methods(["all"]), STATES, ALL - {Resource.EMBEDDER})
    assert list(plan.left_out) == ["embedding"]
    assert plan.passes[0].state.is_final
    known = {(p.state.name, p.side) for p in plan.passes}
    assert len(known) == len(plan.passes)


def test_durations():
    assert [parse_duration(t) for t in ("90s", "10min", "1.5h", " 2 m ")] == [90, 600, 5400, 120]
    assert parse_duration("none") == float("inf")
    for wrong in ("", "10", "ten minutes", "-5min"):
        with pytest.raises(SettingError, match="no duration"):
            parse_duration(wrong)


def test_needs_order_and_name_their_stores():
    assert Need(Kind.GRADIENT).slug == "gradient"
    assert Need(Kind.GRADIENT, "first5").slug == "gradient-first5"
    assert Need(Kind.FACTORS).slug == "kronecker-factors"
    assert sorted([Need(Kind.LOSS), Need(Kind.GRADIENT)])[0].kind is Kind.GRADIENT


@pytest.fixture(scope="module")
def run_folder(cli, tiny_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned")
    rows = row_dicts(tiny_rows(14))
    data = write_jsonl(folder / "t.jsonl", rows[:10])
    queries = write_jsonl(folder / "q.jsonl", rows[10:])
    out = folder / "run"
    options = ["--model", tiny_folder, "--epochs", 4, "--methods", "influence,tracin"]
    made = cli("finetune", "--data", data, "--queries", queries, "--out", out, *options)
    assert made.code == 0, made
    return out


def test_later_methods_capture_only_what_is_missing(cli, run_folder):
    first = cli("index", run_folder)
    assert first.code == 0, first
    assert "2 methods, 8 passes" in first.err
    again = cli("index", run_folder)
    assert "passes" not in again.err
    more = cli("index", run_folder, "--methods", "influence,tracin,ekfac,less")
    assert "4 methods, 1 passes" in more.err
    assert "gradient sampled" in more.err
    done = Run.open(run_folder).score()
    assert {spec for _, spec in done} == {"influence", "tracin", "ekfac", "less"}


def test_what_is_left_out_is_told_and_kept(cli, run_folder):
    called = cli("index", run_folder, "--methods", "influence,embedding")
    assert called.code == 0, called
    assert "left out: 1 methods" in called.err
    run = Run.open(run_folder)
    assert [m.spec for m in run.methods()] == ["influence"]
    assert "embedding" in run.card.entries["left out"]


def test_nothing_that_can_run_is_an_error(cli, run_folder):
    cli("index", run_folder, "--methods", "embedding")
    with pytest.raises(SettingError, match="no method can run here"):
        Run.open(run_folder).methods()


def test_a_budget_of_nothing_leaves_only_text(cli, run_folder):
    called = cli("index", run_folder, "--methods", "influence,bm25", "--budget", "0s")
    assert called.code == 0, called
    assert "over the budget" in called.err
    assert [m.spec for m in Run.open(run_folder).methods()] == ["bm25"]
    wrong = cli("index", run_folder, "--budget", "soon")
    assert wrong.code == 2
    assert "no duration" in wrong.err


def test_a_method_that_cannot_run_is_refused_by_trace(cli, run_folder):
    called = cli("trace", run_folder, "--prompt", "x", "--response", "y", "--methods", "embedding")
    assert called.code == 2
    assert "embedding cannot run here" in called.err


def test_python_says_what_was_not_indexed_and_the_command_line_makes_it(cli, run_folder, tmp_path):
    spec = "influence(tokens=first5)"
    folder = shutil.copytree(run_folder, tmp_path / "run")
    with pytest.raises(
        SettingError, match="no gradient-first5 of the training rows at final"
    ) as told:
        Run.open(folder).trace("x", "y", [spec])
    assert f'--methods "{spec}"' in str(told.value)
    called = cli("trace", folder, "--prompt", "x", "--response", "y", "--methods", spec)
    assert called.code == 0, called.err
    assert "plan:" in called.err


def test_methods_are_listed_with_cost_paper_and_signals(cli):
    called = cli("list", "methods", "--format", "json")
    import json

    rows = {row["name"]: row for row in json.loads(called.out)}
    assert rows["ekfac"]["cost"] == "more passes"
    assert rows["ekfac"]["paper"] == "2308.03296"
    assert "kronecker-factors" in rows["ekfac"]["signals"]
    assert rows["bm25"]["signals"] == "text"
    assert all(row["family"] and row["about"] for row in rows.values())


def test_further_recipes_may_have_fewer_methods(tiny_folder, tmp_path):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(12)))
    config = make_config(
        "tests",
        model=str(tiny_folder),
        data=str(data),
        queries=str(data),
        methods=("gradient_dot", "tracin"),
        also=("paper-1",),
        also_methods=("bm25", "gradient_dot"),
        finetune={"epochs": 4},
    )
    done = execute(tmp_path / "run", config)
    assert set(done.scores) == {
        ("sound-1", "gradient_dot"),
        ("sound-1", "tracin"),
        ("paper-1", "bm25"),
        ("paper-1", "gradient_dot"),
    }
    passed = {path.name for path in (tmp_path / "run" / "signals" / "paper-1").iterdir()}
    assert passed == {"final"}
