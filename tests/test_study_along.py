"""The study's look along a run: which states, with what weight, and the scores there."""

import numpy as np
import pytest
from study.along import Times, at_states, choices, times_of
from study.plan import ALONG, cells

from test_planted_faults import rows
from tiny import write_jsonl
from wherefrom.run import execute, make_config

SPECS = ("influence", "gradient_dot")


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_folder):
    folder = tmp_path_factory.mktemp("along")
    config = make_config(
        "tests",
        model=str(tiny_folder),
        data=str(write_jsonl(folder / "train.jsonl", rows(0, 24))),
        queries=str(write_jsonl(folder / "queries.jsonl", rows(48, 4))),
        methods=(*SPECS, *(f"{spec}(checkpoints=rate)" for spec in SPECS)),
        finetune={"epochs": 5, "learning_rate": 0.01, "batch_size": 8, "dropout": 0.0},
    )
    return execute(folder / "run", config).run


def test_states_are_asked_as_methods_ask_them(run):
    known = {spec: scores for (_, spec), scores in run.score().items()}
    found = at_states(run, SPECS)
    times = times_of(run, list(found["influence"]))
    middle = choices(times)["middle"] / 3
    for spec in SPECS:
        states = list(found[spec].values())
        np.testing.assert_allclose(states[-1].values, known[spec].values, rtol=1e-4, atol=1e-5)
        along = np.tensordot(middle, np.stack([one.values for one in states]), 1)
        wanted = next(v for k, v in known.items() if k.startswith(spec) and "rate" in k)
        np.testing.assert_allclose(along, wanted.values, rtol=1e-3, atol=1e-5)


def test_times_run_from_the_first_step_to_the_last(run):
    states = ["base", "step-000003", "step-000009", "final"]
    times = times_of(run, states)
    assert list(times.step) == [0, 3, 9, 15]
    assert times.rate[0] == 0
    assert times.rate[-1] == pytest.approx(1)
    # the learning rate falls, so more than a fifth is spent in the first fifth of the steps
    assert times.rate[1] > 3 / 15
    assert np.all(np.diff(times.rate) > 0)


def test_sums_of_states_have_the_weights_that_they_say():
    step = np.array([0, 2, 4, 6, 8, 10, 12])
    spent = np.array([0.0, 6, 5, 4, 3, 2, 1])
    found = choices(Times(step, np.cumsum(spent) / spent.sum(), step * 0.0, spent))
    assert list(found["base"]) == [1, 0, 0, 0, 0, 0, 0]
    assert list(found["final"]) == [0, 0, 0, 0, 0, 0, 1]
    assert list(found["all"]) == list(spent)
    # the mean learning rate over the four steps before each
    assert list(found["even"]) == [0, 0, 11 / 4, 0, 7 / 4, 0, 3 / 4]
    # a half of the rate is spent between the second and the third state
    assert list(found["middle"]) == [0, 1, 1, 0, 1, 0, 0]


def test_runs_that_are_looked_along_are_those_of_other_cells():
    known = {one.id: one.settings for one in cells()}
    looked = [one for one in cells() if one.part in ("along", "verdicts")]
    assert {one.part for one in looked} == {"along", "verdicts"}
    for one in looked:
        own = known[one.settings["run"]]
        same = ("task", "train", "queries", "asked", "seed", "model", "finetune", "subsets")
        assert {k: one.settings[k] for k in same} == {k: own[k] for k in same}
    assert set(ALONG) <= set(next(o for o in looked if o.part == "along").settings["methods"])
