"""RunProbe: every answer against one row at a time through the plain model."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from judged import gradients, make_run, recipe_of, write_rows
from wherefrom.data import Renderer
from wherefrom.diagnose import NotMeasured
from wherefrom.models import at_weights, generate, state_digest, trained_state
from wherefrom.run import Run, _probe, execute, make_config
from wherefrom.run._probe import RunProbe
from wherefrom.run._states import FINAL, State


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("probed"), tiny_folder)


@pytest.fixture
def run(made):
    return Run.open(made.path)


def stages_of(run):
    folders = sorted((run.path / "trajectory").glob("step-*"))[:1]
    middle = [State(folder.name, folder) for folder in folders]
    return [State("base", run.path / "trajectory" / "initial"), *middle, FINAL]


@pytest.fixture
def probe(run):
    return RunProbe(run, stages_of(run))


def distributions(model, row):
    """Next-token log-probabilities at the counted positions of one row, alone, without pads."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor(row.ids)[None]).logits[0].double()
    counted = np.flatnonzero(row.loss_mask)
    return logits[counted - 1].log_softmax(-1).numpy(), row.ids[counted]


def mean_log_p(model, row):
    table, said = distributions(model, row)
    return table[np.arange(len(said)), said].mean()


def plain_base(tiny_folder):
    return AutoModelForCausalLM.from_pretrained(tiny_folder).eval()


def tokens_of(run, rows, template=None):
    recipe = recipe_of(run)
    recipe = recipe if template is None else replace(recipe, template=template)
    return Renderer(run.model.tokenizer, recipe).render_all(rows)


def test_log_probabilities_are_those_of_each_row_alone_at_every_stage(run, probe, tiny_folder):
    rows = [*run.train, *run.queries]
    seen = []
    for state in stages_of(run)[1:]:
        found = probe.log_probabilities(rows, state.name)
        tokens = tokens_of(run, rows)
        if state.folder is None:
            want = [mean_log_p(run.model.model, row) for row in tokens]
        else:
            with at_weights(run.model, state.folder) as there:
                want = [mean_log_p(there.model, row) for row in tokens]
        np.testing.assert_allclose(found, want, atol=1e-5)
        seen.append(found)
    base = plain_base(tiny_folder)
    want = [mean_log_p(base, row) for row in tokens_of(run, rows)]
    np.testing.assert_allclose(probe.log_probabilities(rows, "base"), want, atol=1e-5)
    assert np.abs(seen[0] - seen[1]).max() > 1e-3


def test_another_template_is_another_question(run, probe):
    rows = run.queries
    chat, plain = (probe.log_probabilities(rows, "final", t) for t in ("chat", "plain"))
    want = [mean_log_p(run.model.model, row) for row in tokens_of(run, rows, "plain")]
    np.testing.assert_allclose(plain, want, atol=1e-5)
    np.testing.assert_array_equal(chat, probe.log_probabilities(rows, "final"))
    assert np.abs(chat - plain).max() > 1e-3


def test_neither_batches_nor_the_order_of_rows_change_an_answer(run, probe):
    rows = list(run.train)
    found = probe.log_probabilities(rows, "final")
    backwards = probe.log_probabilities(rows[::-1], "final")
    np.testing.assert_allclose(backwards[::-1], found, atol=1e-6)
    one = run.config.index.model_copy(update={"batch_tokens": 1})
    alone = Run(run.path, run.config.model_copy(update={"index": one}))
    again = RunProbe(alone, stages_of(alone))
    np.testing.assert_allclose(again.log_probabilities(rows, "final"), found, atol=1e-6)
    np.testing.assert_allclose(
        again.divergence("final"), probe.divergence("final"), rtol=1e-4, atol=1e-7
    )


def test_divergence_is_that_of_the_whole_distributions(run, probe, tiny_folder):
    base, tokens = plain_base(tiny_folder), tokens_of(run, run.queries)
    np.testing.assert_array_equal(probe.divergence("base"), np.zeros(len(tokens)))
    for state in stages_of(run)[1:]:
        found = probe.divergence(state.name)
        weights = state.folder or sorted((run.path / "trajectory").glob("step-*"))[-1]
        with at_weights(run.model, weights) as there:
            want = []
            for row in tokens:
                p, q = distributions(there.model, row)[0], distributions(base, row)[0]
                want.append((np.exp(p) * (p - q)).sum(-1).mean())
        np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-6)
        assert min(want) > 1e-4


def test_divergence_in_parts_that_fit_is_the_same(run, probe, monkeypatch):
    want = {stage.name: probe.divergence(stage.name) for stage in stages_of(run)}
    monkeypatch.setattr(_probe, "_DISTRIBUTION_BYTES", 1.0)
    parted = RunProbe(run, stages_of(run))
    for name, values in want.items():
        np.testing.assert_allclose(parted.divergence(name), values, rtol=1e-4, atol=1e-7)
    assert len(parted._base) == 1


def test_the_model_is_left_as_it_was(run, probe):
    before = state_digest(trained_state(run.model.model))
    for stage in stages_of(run):
        probe.log_probabilities(run.queries, stage.name)
        probe.divergence(stage.name)
    assert state_digest(trained_state(run.model.model)) == before


def test_asked_twice_the_model_runs_once(run, probe, monkeypatch):
    first = probe.log_probabilities(run.queries, "final"), probe.divergence("final")
    kept = probe.gradients([1, 4], "float32")

    def refuse(*_, **__):
        raise AssertionError("asked again")

    for name in ("_forward", "index_rows"):
        monkeypatch.setattr(_probe, name, refuse)
    again = probe.log_probabilities(list(run.queries), "final"), probe.divergence("final")
    np.testing.assert_array_equal(first, again)
    assert probe.gradients([1, 4], "float32") is kept
    for ask in (
        lambda: probe.log_probabilities(run.queries[:1], "final"),
        lambda: probe.log_probabilities(run.queries, "base"),
        lambda: probe.gradients([1, 4], "bfloat16"),
    ):
        with pytest.raises(AssertionError, match="asked again"):
            ask()


def test_an_adapter_from_elsewhere_has_the_model_without_it_as_base(run, tiny_folder, tmp_path):
    adapter = shutil.copytree(run.path / "adapter", tmp_path / "elsewhere" / "adapter")
    data = write_rows(tmp_path)
    config = make_config(
        "tests",
        model=str(tiny_folder),
        adapter=str(adapter),
        data=str(data / "train.jsonl"),
        queries=str(data / "test.jsonl"),
        methods=["gradient_dot"],
    )
    other = execute(tmp_path / "made", config).run
    there, here = RunProbe(other, [FINAL]), RunProbe(run, stages_of(run))
    for stage in ("base", "final"):
        np.testing.assert_allclose(
            there.log_probabilities(other.queries, stage),
            here.log_probabilities(run.queries, stage),
            atol=1e-6,
        )
        np.testing.assert_allclose(
            there.divergence(stage), here.divergence(stage), rtol=1e-4, atol=1e-7
        )
    with pytest.raises(NotMeasured, match="the weights at step-000002 are not known"):
        there.log_probabilities(other.queries, "step-000002")


def test_behaviour_is_judged_on_the_answers_of_each_stage(made, tmp_path):
    run = Run.open(shutil.copytree(made.path, tmp_path / "copied"))
    probe, answers = RunProbe(run, stages_of(run)), {}
    for state in stages_of(run):
        prompts = [Renderer(run.model.tokenizer, recipe_of(run)).prompt_ids(q) for q in run.queries]
        weights = state.folder or sorted((run.path / "trajectory").glob("step-*"))[-1]
        with at_weights(run.model, weights) as there:
            answers[state.name] = [generate(there, [p], 6, quiet=True)[0] for p in prompts]
    first = answers[stages_of(run)[1].name][0]
    run.task = SimpleNamespace(
        queries=run.queries, behaves=lambda query, answer: answer == first, max_new_tokens=6
    )
    for name, said in answers.items():
        assert probe.behaviour(name) == np.mean([one == first for one in said])
    assert probe.behaviour("base") < probe.behaviour(stages_of(run)[1].name)
    assert run.card.entries["behaviour"]["before fine-tuning"] == probe.behaviour("base")


def test_without_a_task_nobody_says_what_the_behaviour_is(probe):
    assert probe.behaviour("final") is None


def test_gradients_are_those_of_autograd_and_bfloat16_is_coarser(run, probe):
    rows = [5, 0]
    want = gradients(run.model, recipe_of(run), [run.train[i] for i in rows])
    exact = probe.gradients(rows, "float32")
    coarse = probe.gradients(rows, "bfloat16")
    assert exact.keys() == coarse.keys()
    for block, found in zip(want, exact.values(), strict=True):
        np.testing.assert_allclose(found, block, atol=1e-5 * np.abs(block).max())
    apart = [
        np.linalg.norm(c - e) / np.linalg.norm(e)
        for c, e in zip(coarse.values(), exact.values(), strict=True)
    ]
    assert 1e-4 < np.median(apart) < 0.5


def test_gradients_that_would_not_fit_are_refused(probe, monkeypatch):
    monkeypatch.setattr(_probe, "_GRADIENT_BYTES", 10.0)
    with pytest.raises(NotMeasured, match="gradients of 2 rows take"):
        probe.gradients([0, 1], "float32")
