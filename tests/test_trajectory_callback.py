"""The callback in other people's trainings: it keeps what happened, or says that it does not know."""

import json
import runpy
import subprocess
import sys
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer
from datasets import IterableDataset
from safetensors.torch import load_file
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from transformers import Trainer, TrainerCallback

import wherefrom
from own_training import ROWS, Witness, plain, rows_seen, sft, token_rows
from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom import TrajectoryCallback
from wherefrom.errors import SettingError
from wherefrom.models import FinetuneSettings, finetune
from wherefrom.models import _trajectory as module
from wherefrom.run import Run

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_training.py"
ALONG = "tracin,less,trackstar,influence,gradient_dot(checkpoints=rate)"


def steps_of(trajectory):
    return json.loads((trajectory / "steps.json").read_text())


def summary_of(trajectory):
    return json.loads((trajectory / "summary.json").read_text())


def checkpoints(trajectory):
    return sorted(path.name for path in trajectory.glob("step-*"))


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[n], second[n]) for n in first)


def rows_of(trajectory):
    return [step["rows"] for step in steps_of(trajectory)]


TRAININGS = {"lora": plain, "trl": sft, "full": partial(plain, lora=False)}


@pytest.mark.parametrize("kind", TRAININGS)
def test_what_is_kept_is_what_happened(tmp_path, tiny_folder, kind):
    witness, folder = Witness(), tmp_path / "trajectory"
    trainer = TRAININGS[kind](tiny_folder, tmp_path, [witness, TrajectoryCallback(folder, every=2)])
    trainer.train()
    seen = rows_seen(trainer)
    assert len(seen) == 9
    assert [len(rows) for rows in seen] == [4, 4, 3] * 3
    assert rows_of(folder) == seen
    assert all(sorted(chain(*seen[i : i + 3])) == list(range(ROWS)) for i in (0, 3, 6))
    logged = [(step["loss"], step["learning_rate"]) for step in steps_of(folder)]
    assert logged == [pytest.approx(pair) for pair in witness.logged]
    assert checkpoints(folder) == [f"step-{i:06d}" for i in (2, 3, 4, 6, 8, 9)]
    assert same(load_file(folder / "initial" / "weights.safetensors"), witness.weights[0])
    for name in checkpoints(folder):
        step = int(name[5:])
        assert json.loads((folder / name / "state.json").read_text())["step"] == step
        assert same(load_file(folder / name / "weights.safetensors"), witness.weights[step])
        held = load_file(folder / name / "optimizer.safetensors")
        seconds = {n[: -len(".exp_avg_sq")]: t for n, t in held.items() if n.endswith("_sq")}
        assert same(seconds, witness.moments[step])
    assert not same(witness.weights[0], witness.weights[9])
    about = summary_of(folder)
    assert about["rows"] == {
        "known": True,
        "why not": None,
        "numbered as in": "the trainer's train_dataset",
        "in it": ROWS,
    }
    assert (about["steps"], about["loss of every step"], about["optimizer"]) == (9, True, "AdamW")
    assert about["mode"] == ("all weights" if kind == "full" else "adapter")
    assert not (tmp_path / "trajectory.unfinished").exists()
    kept = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert kept == {".safetensors", ".json", ""}


def test_training_is_the_same_with_it_as_without(tmp_path, tiny_folder):
    ends = []
    for callbacks in ([], [TrajectoryCallback(tmp_path / "trajectory")]):
        witness = Witness()
        plain(tiny_folder, tmp_path, [witness, *callbacks]).train()
        ends.append(witness.weights[9])
    assert same(*ends)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataloader_num_workers": 2, "dataloader_persistent_workers": True},
        {"dataloader_drop_last": True},
        {"train_sampling_strategy": "group_by_length"},
        {"train_sampling_strategy": "sequential"},
        {"max_steps": 4, "num_train_epochs": 1},
    ],
    ids=["workers", "drop_last", "group_by_length", "sequential", "max_steps"],
)
def test_rows_are_told_however_the_trainer_draws_them(tmp_path, tiny_folder, changes):
    folder = tmp_path / "trajectory"
    trainer = plain(tiny_folder, tmp_path, [TrajectoryCallback(folder)], **changes)
    trainer.train()
    assert rows_of(folder) == rows_seen(trainer)
    assert summary_of(folder)["rows"]["known"]
    assert checkpoints(folder)[-1] == f"step-{len(rows_seen(trainer)):06d}"


class OwnBatches(Trainer):
    """Forms batches by a sampler that is none of torch's."""

    def get_train_dataloader(self):
        class Backwards(BatchSampler):
            def __iter__(self):
                return reversed(list(super().__iter__()))

        held = Backwards(SequentialSampler(self.train_dataset), 2, False)
        return DataLoader(self.train_dataset, batch_sampler=held, collate_fn=self.data_collator)


class Peeking(TrainerCallback):
    """Reads the training rows beside the trainer."""

    def on_step_end(self, args, state, control, train_dataloader=None, **_):
        if state.global_step == 2:
            next(iter(train_dataloader.base_dataloader))


def streamed(folder):
    rows = token_rows(folder)
    return IterableDataset.from_generator(lambda: iter(rows))


@pytest.mark.parametrize("case", ["stream", "packing", "own batches", "peeking"])
def test_an_order_that_cannot_be_known_is_not_recorded(tmp_path, tiny_folder, capsys, case):
    folder = tmp_path / "trajectory"
    callback = TrajectoryCallback(folder)
    if case == "stream":
        changes = {"rows": streamed(tiny_folder), "max_steps": 6}
        trainer = plain(tiny_folder, tmp_path, [callback], **changes)
    elif case == "packing":
        changes = {"packing": True, "packing_strategy": "wrapped", "max_length": 64, "max_steps": 6}
        trainer = sft(tiny_folder, tmp_path, [callback], **changes)
    elif case == "own batches":
        trainer = plain(tiny_folder, tmp_path, [callback], max_steps=6)
        trainer.__class__ = type("Own", (OwnBatches,), {})
    else:
        trainer = plain(tiny_folder, tmp_path, [callback, Peeking()], max_steps=6)
    trainer.train()
    why = {
        "stream": "the data set is a stream",
        "packing": "packing puts several examples into one row",
        "own batches": "a sampler of its own",
        "peeking": "something else than the trainer read the training rows too",
    }[case]
    about = summary_of(folder)
    assert not about["rows"]["known"]
    assert why in about["rows"]["why not"]
    assert capsys.readouterr().err.count("the rows of the steps are not recorded: ") == 1
    assert rows_of(folder) == [None] * 6
    assert all(step["learning_rate"] > 0 and step["loss"] > 0 for step in steps_of(folder))
    assert same(
        load_file(folder / "step-000006" / "weights.safetensors"),
        module.trained_state(trainer.model),
    )


def test_a_loss_that_was_logged_for_many_steps_is_no_steps_loss(tmp_path, tiny_folder):
    folder = tmp_path / "trajectory"
    trainer = plain(tiny_folder, tmp_path, [TrajectoryCallback(folder)], logging_steps=4)
    trainer.train()
    assert [step["loss"] for step in steps_of(folder)] == [None] * 9
    means = {i: s["mean loss"] for i, s in enumerate(steps_of(folder), 1) if "mean loss" in s}
    assert {i: mean["steps"] for i, mean in means.items()} == {4: 4, 8: 4}
    logged = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert [mean["loss"] for mean in means.values()] == logged
    assert not summary_of(folder)["loss of every step"]


# the folder, beside an adapter or a model


@pytest.fixture
def files(tmp_path):
    rows = row_dicts(tiny_rows(ROWS + 3))
    return write_jsonl(tmp_path / "t.jsonl", rows[:ROWS]), write_jsonl(
        tmp_path / "q.jsonl", rows[ROWS:]
    )


@pytest.mark.parametrize("kind", TRAININGS)
def test_methods_that_look_along_the_training_run_are_on(cli, tmp_path, tiny_folder, files, kind):
    trainer = TRAININGS[kind](tiny_folder, tmp_path, [TrajectoryCallback(tmp_path / "trajectory")])
    trainer.train()
    trainer.save_model(tmp_path / "tuned")
    data, queries = files
    model = ["--model", tmp_path / "tuned"]
    if kind != "full":
        model = ["--model", tiny_folder, "--adapter", tmp_path / "tuned"]
    run = tmp_path / "run"
    options = [
        "--data",
        data,
        "--queries",
        queries,
        "--methods",
        f"{ALONG},dda,unrolled,in_run_shapley",
    ]
    made = cli("index", run, *model, *options)
    assert made.code == 0, made
    assert "no trajectory" not in made.err
    opened = Run.open(run)
    assert set(opened.card.entries["left out"]) == {"unrolled", "in_run_shapley"}
    assert "unrolled: needs a replay of the fine-tune, which wherefrom must have made" in made.err
    scores = {spec: found.values for (_, spec), found in opened.score().items()}
    assert len(scores) == 6
    assert all(abs(values).max() > 0 for values in scores.values())
    states = opened.states(opened.config.recipes()[0])
    assert [one.name for one in states.checkpoints] == ["step-000003", "step-000006", "final"]
    assert [one.steps for one in states.checkpoints] == [3, 3, 3]
    rates = [step["learning_rate"] for step in steps_of(tmp_path / "trajectory")]
    assert states.checkpoints[1].rate == pytest.approx(sum(rates[3:6]) / 3)
    assert states.moments == tmp_path / "trajectory" / "step-000009"
    traced = cli(
        "trace", run, "--prompt", "tell me about sea", "--response", "No.", "--methods", "tracin"
    )
    assert traced.code == 0, traced
    # nobody can train it again: its settings are not ours
    refused = cli("counterfactual", run)
    assert refused.code == 2
    assert "was not fine-tuned by wherefrom" in refused.err


def test_the_example_script_works_as_it_is_printed(cli, monkeypatch, tmp_path, tiny_folder, files):
    data, queries = files
    arguments = ["--model", tiny_folder, "--data", data, "--out", tmp_path / "out"]
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *map(str, arguments)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    adapter = tmp_path / "out" / "adapter"
    options = ["--model", tiny_folder, "--adapter", adapter, "--data", data, "--queries", queries]
    made = cli("index", tmp_path / "run", *options, "--methods", "tracin,trackstar")
    assert made.code == 0, made
    assert "left out" not in made.err
    changed = [line for line in EXAMPLE.read_text().splitlines() if "TrajectoryCallback" in line]
    assert len(changed) == 2


def test_a_trajectory_of_another_training_is_not_used(cli, tmp_path, tiny_folder, files):
    trainer = plain(tiny_folder, tmp_path, [TrajectoryCallback(tmp_path / "trajectory")])
    trainer.train()
    plain(
        tiny_folder, tmp_path, [], seed=9
    )  # makes nothing; the next one differs by its rows' order
    other = plain(tiny_folder, tmp_path, [], data_seed=9)
    other.train()
    other.save_model(tmp_path / "adapter")
    data, queries = files
    options = ["--model", tiny_folder, "--adapter", tmp_path / "adapter", "--data", data]
    run = tmp_path / "run"
    made = cli("index", run, *options, "--queries", queries, "--methods", "tracin,dda,influence")
    assert made.code == 0, made
    told = "ends at step-000009 with other weights than this model's"
    assert made.err.count(told) == 1
    assert set(Run.open(run).card.entries["left out"]) == {"tracin", "dda"}
    traced = cli("trace", run, "--prompt", "tell me", "--response", "No.")
    assert traced.code == 0, traced
    assert told not in traced.err


def test_other_rows_than_the_training_saw_are_pointed_out(cli, tmp_path, tiny_folder, files):
    trainer = plain(tiny_folder, tmp_path, [TrajectoryCallback(tmp_path / "trajectory")])
    trainer.train()
    trainer.save_model(tmp_path / "adapter")
    shorter = write_jsonl(tmp_path / "s.jsonl", row_dicts(tiny_rows(ROWS - 2)))
    options = ["--model", tiny_folder, "--adapter", tmp_path / "adapter", "--data", shorter]
    made = cli("index", tmp_path / "run", *options, "--methods", "bm25")
    assert made.code == 0, made
    assert f"saw {ROWS} rows, this data has {ROWS - 2}" in made.err


def test_the_best_checkpoint_ends_the_trajectory(cli, tmp_path, tiny_folder, files):
    folder = tmp_path / "trajectory"
    callback = TrajectoryCallback(folder, epochs=False)
    saving = {"save_strategy": "steps", "save_steps": 2, "eval_strategy": "steps", "eval_steps": 2}
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_wanted"}
    witness = Witness()
    rows = token_rows(tiny_folder, 3)
    trainer = plain(tiny_folder, tmp_path, [witness, callback], held_out=rows, **saving, **best)

    class Judged(type(trainer)):
        def evaluate(self, *arguments, **options):
            metrics = super().evaluate(*arguments, **options)
            return metrics | {"eval_wanted": float(self.state.global_step == 4)}

    trainer.__class__ = Judged
    trainer.train()
    trainer.save_model(tmp_path / "adapter")
    assert checkpoints(folder) == ["step-000004"]
    assert same(load_file(folder / "step-000004" / "weights.safetensors"), witness.weights[4])
    assert (summary_of(folder)["steps"], summary_of(folder)["steps taken"]) == (4, 9)
    assert len(steps_of(folder)) == 4
    data, queries = files
    options = ["--model", tiny_folder, "--adapter", tmp_path / "adapter", "--data", data]
    made = cli("index", tmp_path / "run", *options, "--queries", queries, "--methods", "tracin")
    assert made.code == 0, made


# training that breaks off, is resumed, or cannot be recorded


class Cut(TrainerCallback):
    """Ends the process, as far as a trainer can tell."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


def broken_off(folder, out, step=5):
    trainer = plain(
        folder,
        out,
        [TrajectoryCallback(out / "trajectory"), Cut(step)],
        save_strategy="steps",
        save_steps=2,
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    return trainer


def test_a_training_that_broke_off_leaves_no_trajectory(cli, tmp_path, tiny_folder, files):
    trainer = broken_off(tiny_folder, tmp_path)
    assert not (tmp_path / "trajectory").exists()
    assert checkpoints(tmp_path / "trajectory.unfinished") == ["step-000003"]
    trainer.save_model(tmp_path / "adapter")
    data, queries = files
    options = ["--model", tiny_folder, "--adapter", tmp_path / "adapter", "--data", data]
    made = cli(
        "index", tmp_path / "run", *options, "--queries", queries, "--methods", "tracin,influence"
    )
    assert made.code == 0, made
    assert (
        "no trajectory beside this model (one lies there that did not come to its end)" in made.err
    )
    assert "tracin: needs checkpoints" in made.err


@pytest.mark.parametrize("whole_first", [False, True])
def test_a_resumed_training_goes_on_where_it_was(tmp_path, tiny_folder, whole_first):
    whole = Witness()
    straight = plain(tiny_folder, tmp_path, [whole, TrajectoryCallback(tmp_path / "straight")])
    straight.train()
    if whole_first:
        saving = {"save_strategy": "steps", "save_steps": 2}
        first = plain(
            tiny_folder, tmp_path, [TrajectoryCallback(tmp_path / "trajectory")], **saving
        )
        first.train()
    else:
        first = broken_off(tiny_folder, tmp_path)
    resumed = Witness()
    second = plain(tiny_folder, tmp_path, [resumed, TrajectoryCallback(tmp_path / "trajectory")])
    second.train(resume_from_checkpoint=str(tmp_path / "own" / "checkpoint-4"))
    folder = tmp_path / "trajectory"
    assert rows_of(folder) == rows_seen(first)[:4] + rows_seen(second)
    assert rows_of(folder) == rows_of(tmp_path / "straight")
    assert summary_of(folder)["rows"]["known"]
    assert checkpoints(folder) == ["step-000003", "step-000006", "step-000009"]
    assert same(load_file(folder / "step-000009" / "weights.safetensors"), resumed.weights[9])
    assert [s["learning_rate"] for s in steps_of(folder)] == pytest.approx(
        [s["learning_rate"] for s in steps_of(tmp_path / "straight")]
    )
    assert not (tmp_path / "trajectory.unfinished").exists()


@pytest.mark.parametrize("left", ["nothing", "another training's"])
def test_a_resumed_training_whose_beginning_is_unknown_is_not_recorded(
    tmp_path, tiny_folder, capsys, left
):
    plain(tiny_folder, tmp_path, [], save_strategy="steps", save_steps=2).train()
    if left != "nothing":
        saving = {"save_strategy": "steps", "save_steps": 2, "data_seed": 8}
        callback = TrajectoryCallback(tmp_path / "trajectory")
        plain(tiny_folder, tmp_path / "other", [callback], **saving).train()
    before = rows_of(tmp_path / "trajectory") if left != "nothing" else None
    again = plain(tiny_folder, tmp_path, [TrajectoryCallback(tmp_path / "trajectory")])
    again.train(resume_from_checkpoint=str(tmp_path / "own" / "checkpoint-4"))
    assert "training resumes at step 4, and the steps before it were not recorded" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "trajectory.unfinished").exists()
    assert (rows_of(tmp_path / "trajectory") if left != "nothing" else None) == before


def test_a_full_disk_ends_the_recording_and_not_the_training(
    monkeypatch, tmp_path, tiny_folder, capsys
):
    real, calls = module.save_file, []

    def full(tensors, path):
        calls.append(path)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        real(tensors, path)

    monkeypatch.setattr(module, "save_file", full)
    witness = Witness()
    plain(tiny_folder, tmp_path, [witness, TrajectoryCallback(tmp_path / "trajectory")]).train()
    assert len(witness.logged) == 9
    assert "the training goes on: [Errno 28] No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "trajectory").exists()
    # the checkpoint that did not fit is not there in part
    assert not list((tmp_path / "trajectory.unfinished").glob("*step-*"))


def test_moments_are_kept_only_where_they_are_wanted(tmp_path, tiny_folder):
    folder = tmp_path / "trajectory"
    callback = TrajectoryCallback(folder, moments=False, epochs=False)
    plain(tiny_folder, tmp_path, [callback]).train()
    assert checkpoints(folder) == ["step-000009"]
    assert not list(folder.rglob("optimizer.safetensors"))


def test_a_second_training_replaces_the_recording_of_the_first(tmp_path, tiny_folder):
    folder = tmp_path / "trajectory"
    trainer = plain(tiny_folder, tmp_path, [TrajectoryCallback(folder)])
    trainer.train()
    first = load_file(folder / "step-000009" / "weights.safetensors")
    trainer.seen.clear()
    trainer.train()
    assert same(load_file(folder / "initial" / "weights.safetensors"), first)
    assert rows_of(folder) == rows_seen(trainer)


def test_a_folder_that_is_not_ours_is_refused(tmp_path, tiny_folder):
    theirs = tmp_path / "trajectory"
    theirs.mkdir()
    (theirs / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingError, match="was not recorded by TrajectoryCallback"):
        TrajectoryCallback(theirs)
    assert (theirs / "thesis.txt").read_text() == "years of work"
    (theirs / "thesis.txt").rename(tmp_path / "file")
    TrajectoryCallback(theirs)
    with pytest.raises(SettingError, match="left alone"):
        TrajectoryCallback(tmp_path / "file")


def test_the_trajectory_of_a_fine_tune_of_ours_is_refused(tmp_path, tiny_folder):
    from test_finetune import rows_for

    settings = FinetuneSettings(epochs=1, batch_size=4, precision="float32")
    finetune(str(tiny_folder), rows_for(tiny_folder), settings, tmp_path)
    with pytest.raises(SettingError, match="left alone"):
        TrajectoryCallback(tmp_path / "trajectory")


def test_a_run_folder_is_no_place_for_it(tmp_path):
    (tmp_path / "run.yaml").write_text("model: m\n")
    with pytest.raises(SettingError, match="is a run folder of wherefrom"):
        TrajectoryCallback(tmp_path / "trajectory")


def test_a_step_that_the_optimizer_left_out_has_no_rate(monkeypatch, tmp_path, tiny_folder):
    left_out = property(lambda self: True)
    monkeypatch.setattr(AcceleratedOptimizer, "step_was_skipped", left_out)
    plain(tiny_folder, tmp_path, [TrajectoryCallback(tmp_path / "trajectory")], max_steps=3).train()
    assert [step["learning_rate"] for step in steps_of(tmp_path / "trajectory")] == [0.0] * 3


@pytest.mark.parametrize("every", [0, -3, 1.5])
def test_every_is_a_count(tmp_path, every):
    with pytest.raises(SettingError, match="give a number of steps"):
        TrajectoryCallback(tmp_path / "t", every=every)


def test_a_model_that_is_spread_over_processes_is_refused_before_the_first_step(
    tmp_path, tiny_folder
):
    trainer = plain(tiny_folder, tmp_path, [TrajectoryCallback(tmp_path / "trajectory")])
    next(trainer.model.parameters()).ds_id = 0
    with pytest.raises(SettingError, match="spread over processes"):
        trainer.train()
    assert trainer.state.global_step == 0


_RANKS = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[3]]
from own_training import plain
from wherefrom import TrajectoryCallback
out = Path(sys.argv[2])
plain(Path(sys.argv[1]), out, [TrajectoryCallback(out / "trajectory")], ddp_backend="gloo").train()
"""


def test_of_several_processes_the_first_one_records(tmp_path, tiny_folder):
    script = tmp_path / "train.py"
    script.write_text(_RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    tests = str(Path(__file__).parent)
    done = subprocess.run(
        [*launch, str(tiny_folder), str(tmp_path), tests],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("the rows of the steps are not recorded: 2 processes share") == 1
    folder = tmp_path / "trajectory"
    about = summary_of(folder)
    assert "2 processes" in about["rows"]["why not"]
    assert rows_of(folder) == [None] * about["steps"]
    first = load_file(folder / "initial" / "weights.safetensors")
    assert first.keys() == load_file(next(folder.glob("step-*")) / "weights.safetensors").keys()
    assert not any("module." in name for name in first)


def test_importing_the_package_does_not_import_torch():
    probe = (
        "import sys, wherefrom\nassert 'TrajectoryCallback' in wherefrom.__all__\n"
        "heavy = {'torch', 'transformers'} & set(sys.modules)\nassert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert wherefrom.TrajectoryCallback is TrajectoryCallback
    assert issubclass(TrajectoryCallback, TrainerCallback)
