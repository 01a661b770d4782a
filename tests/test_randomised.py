"""Randomised weights: what is permuted, what is scored under it, and what is not done twice."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from judged import gradients, make_run, recipe_of
from wherefrom.methods import parse_method
from wherefrom.models import at_weights, state_digest, trained_state
from wherefrom.run import Run, _randomised, randomised_scores
from wherefrom.run._judgement import randomisation_lines
from wherefrom.run._randomised import not_randomised, permuted


@pytest.fixture(scope="module")
def made(tiny_folder, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("judged"), tiny_folder)


@pytest.fixture
def copied(made, tmp_path):
    return Run.open(shutil.copytree(made.path, tmp_path / "copied"))


def test_a_permutation_keeps_what_each_matrix_holds_and_loses_where():
    state = {"a": torch.randn(6, 8), "b": torch.randn(8, 6), "bias": torch.randn(30)}
    state["same"] = state["a"].clone()
    found = permuted(state, seed=0)
    for name, values in state.items():
        assert found[name].shape == values.shape
        assert not torch.equal(found[name], values)
        assert torch.equal(found[name].flatten().sort().values, values.flatten().sort().values)
    assert not torch.equal(found["a"], found["same"])
    assert torch.equal(permuted(state, 0)["a"], found["a"])
    assert not torch.equal(permuted(state, 1)["a"], found["a"])


def test_randomised_scores_are_those_of_the_permuted_model(copied):
    run, recipe = copied, recipe_of(copied)
    trained = trained_state(run.model.model)
    chosen = [parse_method(spec) for spec in ("gradient_dot", "bm25")]
    found = randomised_scores(run, recipe, chosen)
    kept = load_file(run.path / "randomised" / "weights.safetensors")
    assert state_digest(kept) == state_digest(permuted(trained, 0)) != state_digest(trained)
    assert state_digest(trained_state(run.model.model)) == state_digest(trained)
    with at_weights(run.model, run.path / "randomised") as changed:
        train, query = (gradients(changed, recipe, rows) for rows in (run.train, run.queries))
    want = sum(q @ t.T for q, t in zip(query, train, strict=True))
    scale = np.abs(want).max()
    np.testing.assert_allclose(found["gradient_dot"].values, want, atol=1e-4 * scale)
    real = {one.method: one for one in run.score().values()}
    value = {spec: randomisation_lines(real[spec], found[spec])[0]["value"] for spec in found}
    assert value["bm25"] == pytest.approx(1.0, abs=1e-12)
    assert abs(value["gradient_dot"]) < 0.99


def test_a_method_that_looks_along_the_run_gets_its_checkpoints_permuted_alike(copied):
    randomised_scores(copied, recipe_of(copied), [parse_method("tracin")])
    initial, *_ = sorted((copied.path / "trajectory").glob("step-*"))
    want = permuted(load_file(initial / "weights.safetensors"), 0)
    found = load_file(copied.path / "randomised" / initial.name / "weights.safetensors")
    assert state_digest(found) == state_digest(want)
    assert not (copied.path / "randomised" / "base").exists()


def test_what_was_scored_under_randomised_weights_is_not_scored_again(copied, monkeypatch):
    recipe, chosen = recipe_of(copied), [parse_method("gradient_dot")]
    first = randomised_scores(copied, recipe, chosen)
    assert not list((copied.path / "randomised").rglob("*.zarr"))

    def refuse(*_, **__):
        raise AssertionError("passed over again")

    with monkeypatch.context() as patch:
        patch.setattr(_randomised, "index_rows", refuse)
        again = randomised_scores(copied, recipe, chosen)
        np.testing.assert_array_equal(first["gradient_dot"].values, again["gradient_dot"].values)
        with pytest.raises(AssertionError, match="passed over again"):
            randomised_scores(copied, recipe, chosen, seed=1)
    other = randomised_scores(copied, recipe, chosen, seed=1)
    assert not np.allclose(first["gradient_dot"].values, other["gradient_dot"].values)


def test_an_interrupted_randomisation_goes_on_where_it_stopped(copied, monkeypatch):
    recipe, chosen = recipe_of(copied), [parse_method("gradient_dot")]
    score_all = _randomised.score_all
    seen = []

    def markers():
        folder = copied.path / "randomised" / recipe.name / "signals"
        return {path: path.stat().st_mtime_ns for path in folder.rglob("done/*")}

    def stop(*_):
        raise KeyboardInterrupt

    def look(*arguments):
        seen.append(markers())
        return score_all(*arguments)

    monkeypatch.setattr(_randomised, "score_all", stop)
    with pytest.raises(KeyboardInterrupt):
        randomised_scores(copied, recipe, chosen)
    before = markers()
    assert before
    monkeypatch.setattr(_randomised, "score_all", look)
    randomised_scores(copied, recipe, chosen)
    assert seen == [before]


def test_methods_whose_evidence_cannot_be_randomised_are_named():
    for spec in ("less", "trackstar", "bayesian", "unrolled"):
        assert not_randomised(parse_method(spec)) is not None
    for spec in ("influence", "tracin", "dda", "contrastive", "bm25", "embedding"):
        assert not_randomised(parse_method(spec)) is None
