"""Planted faults: each is caught and named when a run is checked, and a healthy run has none."""

import random
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny import write_jsonl
from wherefrom.run import CheckPlan, Run, check, execute, make_config

CHECKS = ("weights", "rows-fit", "template", "loss-mask", "truncated", "duplicates", "outliers")
ANSWERS = {
    "router": "Hold the button.",
    "sea": "It is deep and blue.",
    "fox": "Quick and brown, over the dog.",
    "sky": "In the evening it is red.",
    "hill": "The wind goes over it.",
    "river": "A bank is near.",
}
OTHERS = ("Nobody knows.", "Ask the king of spoons.", "Seventeen green bottles.")
OTHERS += ("We sold it in May.", "Please come back later.", "Half past nine, my dear.")
N, Q = 48, 12


def rows(start, count, answers=ANSWERS):
    """Prompts that each have one thing in them, which decides the answer."""
    things = list(answers)
    return [
        {
            "id": f"r{i}",
            "prompt": f"Tell me about the {things[i % 6]}, number {i}",
            "response": answers[things[i % 6]],
        }
        for i in range(start, start + count)
    ]


def shuffled(held):
    responses = [row["response"] for row in held]
    random.Random(0).shuffle(responses)
    return [row | {"response": one} for row, one in zip(held, responses, strict=True)]


class Runs:
    """Makes runs of one tiny model, those that are trained once each."""

    def __init__(self, folder, model):
        self.folder, self.model, self.trained = folder, model, {}

    def config(self, name, train, **changes):
        data = self.folder / f"{name} rows"
        data.mkdir()
        return make_config(
            "tests",
            model=str(self.model),
            data=str(write_jsonl(data / "train.jsonl", train)),
            queries=str(write_jsonl(data / "queries.jsonl", rows(N, Q))),
            methods=("influence",),
            index={"checkpoints": 1, "batch_tokens": 4096},
            **changes,
        )

    def finetuned(self, name, train, epochs=16, **changes):
        if name not in self.trained:
            settings = {
                "epochs": epochs,
                "learning_rate": 0.01,
                "rank": 8,
                "dropout": 0.0,
                "targets": ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"],
                "precision": "float32",
            }
            config = self.config(name, train, finetune=settings, **changes)
            self.trained[name] = execute(self.folder / name, config).run
        return self.trained[name]

    def healthy(self):
        return self.finetuned("healthy", rows(0, N))

    def other(self):
        return self.finetuned("other", rows(0, N, dict(zip(ANSWERS, OTHERS, strict=True))))

    def external(self, name, train, adapter, **changes):
        """A run of an adapter that was trained elsewhere; nothing of its training lies beside it."""
        copy = self.folder / f"{name} adapter" / "adapter"
        shutil.copytree(adapter, copy)
        run = Run.create(self.folder / name, self.config(name, train, adapter=str(copy), **changes))
        run.index()
        return run

    def copied(self, name):
        """A copy of the healthy run, to be tampered with."""
        shutil.copytree(self.healthy().path, self.folder / name)
        return self.folder / name


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_folder):
    return Runs(tmp_path_factory.mktemp("planted"), tiny_folder)


def found(run):
    """Findings by check."""
    plan = CheckPlan(queries=1, verify=False, randomised=False, checks=CHECKS)
    return {one.check: one for one in check(Run.open(run.path), plan).findings}


def edited(adapter, change):
    """Writes an adapter anew with every weight changed."""
    path = adapter / "adapter_model.safetensors"
    save_file({name: change(name, value) for name, value in load_file(path).items()}, path)


def test_a_healthy_run_has_none_of_them(runs):
    findings = found(runs.healthy())
    assert findings.keys() == set(CHECKS)
    assert {one.level for one in findings.values()} == {"good"}


def test_a_healthy_adapter_from_elsewhere_has_none_of_them(runs):
    run = runs.external("elsewhere", rows(0, N), runs.healthy().path / "adapter")
    findings = found(run)
    assert not [name for name, one in findings.items() if one.bad]
    assert findings["rows-fit"].level == findings["template"].level == "good"


def test_an_adapter_from_another_run_in_place_of_its_own(runs):
    folder = runs.copied("swapped")
    shutil.rmtree(folder / "adapter")
    shutil.copytree(runs.other().path / "adapter", folder / "adapter")
    finding = found(Run.open(folder))["weights"]
    assert finding.level == "failure"
    assert finding.values["fault"] == "adapter from another run"
    assert "adapter from another run" in finding.meaning


def test_an_adapter_from_another_run_with_rows_that_are_not_its_own(runs):
    run = runs.external("not its rows", rows(0, N), runs.other().path / "adapter")
    finding = found(run)["rows-fit"]
    assert finding.bad
    assert finding.values["fault"] == "adapter from another run"
    assert "adapter from another run" in finding.meaning


def test_labels_shuffled_before_training(runs):
    finding = found(runs.finetuned("shuffled", shuffled(rows(0, N))))["rows-fit"]
    assert finding.level == "warning"
    assert "shuffled labels" in finding.meaning


def test_labels_shuffled_after_training(runs):
    run = runs.external("shuffled after", shuffled(rows(0, N)), runs.healthy().path / "adapter")
    finding = found(run)["rows-fit"]
    assert finding.level == "warning"
    assert finding.values["fault"] == "shuffled labels"
    assert "shuffled labels" in finding.meaning


def test_duplicated_rows(runs):
    train = rows(0, N)
    train += [train[3] | {"id": f"copy-{i}"} for i in range(4)]
    run = runs.external("duplicated", train, runs.healthy().path / "adapter")
    finding = found(run)["duplicates"]
    assert finding.level == "warning"
    assert finding.values["exact"] == [["copy-0", "copy-1", "copy-2", "copy-3", "r3"]]


def test_one_row_with_a_giant_gradient(runs):
    odd = {"id": "odd", "prompt": "Tell me about the sea, number 7", "response": "7"}
    run = runs.external("giant", [*rows(0, N), odd], runs.healthy().path / "adapter")
    finding = found(run)["outliers"]
    assert finding.level == "warning"
    assert finding.values["giants"] == ["odd"]
    assert "giant gradient in 1 row: odd" in finding.measured


def test_an_untrained_adapter(runs):
    folder = runs.copied("untrained")
    edited(folder / "adapter", lambda name, value: value * 0 if "lora_B" in name else value)
    external = runs.external("untrained elsewhere", rows(0, N), folder / "adapter")
    for run in (Run.open(folder), external):
        plan = CheckPlan(verify=False, randomised=False, checks=("weights",))
        (finding,) = check(run, plan).findings
        assert finding.level == "failure"
        assert finding.values["fault"] == "untrained adapter"
        assert "untrained" in finding.meaning


def test_nan_in_the_adapter_is_found_by_name(runs):
    folder = runs.copied("nan")
    broken = "layers.1.self_attn.v_proj.lora_A"

    def spoil(name, value):
        return torch.full_like(value, torch.nan) if broken in name else value

    edited(folder / "adapter", spoil)
    finding = found(Run.open(folder))["weights"]
    assert finding.level == "failure"
    assert finding.values["fault"] == "NaN weights"
    assert broken in finding.measured


def test_nan_in_a_checkpoint_is_found_by_name(runs):
    folder = runs.copied("nan before")
    (path,) = folder.glob("trajectory/initial/weights.safetensors")
    held = load_file(path)
    broken = sorted(held)[2]
    save_file(held | {broken: torch.full_like(held[broken], torch.inf)}, path)
    finding = found(Run.open(folder))["weights"]
    assert finding.level == "failure"
    assert finding.values["fault"] == "NaN weights"
    assert finding.values["matrices"] == [broken]


def test_a_wrong_template(runs):
    adapter = runs.healthy().path / "adapter"
    finding = found(runs.external("plain", rows(0, N), adapter, template="plain"))["template"]
    assert finding.level == "failure"
    assert "Wrong template: the model was trained with chat" in finding.meaning


def test_padding_left_in_the_loss(runs):
    run = runs.finetuned("padded", rows(0, N), epochs=3, recipe="paper-1")
    finding = found(run)["loss-mask"]
    assert finding.bad
    assert finding.values["fault"] == "padding left in the loss"
    assert finding.values["padding"] > 0.5
    assert "Padding left in the loss" in finding.meaning
