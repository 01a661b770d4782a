"""AdamW's moments of our own runs, of a Hugging Face trainer's, and files that are neither."""

import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import Trainer, TrainingArguments

from test_capture import tuned
from tiny import row_dicts, tiny_rows, tiny_tokenizer, write_jsonl
from wherefrom.errors import ModelError
from wherefrom.models import clean_name, has_moments, read_moments
from wherefrom.run import Run


def trained(tmp_path, mode):
    """A model after two steps of a plain transformers trainer, and the checkpoint it saved."""
    tokenizer = tiny_tokenizer()
    model = tuned("gpt2", mode, tokenizer).float()
    ids = tokenizer("Hold the small button for ten seconds.").input_ids
    rows = [{"input_ids": ids, "labels": ids, "attention_mask": [1] * len(ids)}] * 4
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=2,
        save_steps=2,
        per_device_train_batch_size=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        optim="adamw_torch",
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    return model, trainer, tmp_path / "out" / "checkpoint-2"


@pytest.mark.parametrize("mode", ["lora", "full"])
def test_a_trainers_optimizer_state_is_matched_to_its_parameters(tmp_path, mode):
    model, trainer, folder = trained(tmp_path, mode)
    assert has_moments(folder)
    found = read_moments(folder, model)
    inner = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    compared = 0
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            state = inner.state[parameter]
            moments = found[clean_name(name)]
            np.testing.assert_array_equal(moments.first, state["exp_avg"].numpy())
            np.testing.assert_array_equal(moments.second, state["exp_avg_sq"].numpy())
            compared += 1
    assert compared == len(found) > 5


def test_a_state_of_another_model_is_refused(tmp_path):
    _, _, folder = trained(tmp_path, "lora")
    other = tuned("llama", "lora", tiny_tokenizer())
    with pytest.raises(ModelError, match="saved by another run"):
        read_moments(folder, other)


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


@pytest.mark.parametrize("content", ["pickle", "torch", "rubbish"])
def test_nothing_in_an_optimizer_file_is_executed(tmp_path, content):
    path = tmp_path / "optimizer.pt"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Evil()))
    elif content == "torch":
        torch.save({"state": {}, "param_groups": Evil()}, path)
    else:
        path.write_bytes(b"rubbish")
    with pytest.raises(ModelError, match=r"optimizer\.pt: no AdamW state"):
        read_moments(tmp_path, tuned("llama", "lora", tiny_tokenizer()))


def test_a_folder_without_moments_has_none(tmp_path):
    assert not has_moments(tmp_path)
    assert read_moments(tmp_path, torch.nn.Linear(2, 2)) == {}


def test_an_adapter_from_elsewhere_brings_its_optimizer_state(cli, tiny_folder, tmp_path):
    rows = row_dicts(tiny_rows(10))
    data = write_jsonl(tmp_path / "t.jsonl", rows[:8])
    queries = write_jsonl(tmp_path / "q.jsonl", rows[8:])
    first = tmp_path / "first"
    made = cli("finetune", "--data", data, "--out", first, "--model", tiny_folder, "--epochs", 2)
    assert made.code == 0, made
    moved = tmp_path / "elsewhere" / "adapter"
    shutil.copytree(first / "adapter", moved)
    last = sorted((first / "trajectory").glob("step-*"))[-1]
    held = load_file(last / "optimizer.safetensors")
    names = sorted({name.rpartition(".")[0] for name in held})
    model = Run.open(first).model.model
    order = [n for n, p in model.named_parameters() if p.requires_grad]
    assert sorted(order) == names
    state = {
        i: {key: torch.from_numpy(held[f"{name}.{key}"]) for key in ("exp_avg", "exp_avg_sq")}
        for i, name in enumerate(order)
    }
    torch.save(
        {"state": state, "param_groups": [{"params": list(range(len(order)))}]},
        moved / "optimizer.pt",
    )
    options = ["--model", tiny_folder, "--adapter", moved, "--data", data, "--queries", queries]
    out = tmp_path / "second"
    made = cli("index", out, *options, "--methods", "trackstar,tracin,influence")
    assert made.code == 0, made
    assert "tracin: needs checkpoints" in made.err
    assert ("sound-1", "trackstar") in Run.open(out).score()
    found, own = (read_moments(folder, model) for folder in (moved, last))
    assert found.keys() == own.keys()
    for name, moments in own.items():
        np.testing.assert_array_equal(found[name].second, moments.second)
        np.testing.assert_array_equal(found[name].first, moments.first)
