"""Fine-tuning on tiny models: what is learned, and what is kept of how it was learned."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from trl import SFTTrainer

from tiny import save_tiny, tiny_rows
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import NonFiniteError
from wherefrom.models import (
    FinetuneSettings,
    batch_order,
    counted_losses,
    finetune,
    learning_rates,
    load_model,
    pad_rows,
    prepare,
    step_seed,
    trained_state,
)
from wherefrom.models import _trainer as module


def rows_for(folder, recipe="sound-1", n=7, **changes):
    loaded = load_model(str(folder), device="cpu")
    return Renderer(loaded.tokenizer, get_recipe(recipe, **changes)).render_all(tiny_rows(n))


def settings(**changes):
    defaults = {"epochs": 2, "batch_size": 3, "learning_rate": 1e-2, "precision": "float32"}
    return FinetuneSettings(**(defaults | changes))


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox", "gemma"])
def test_a_trajectory_holds_what_attribution_will_ask_for(tmp_path, kind):
    base = save_tiny(tmp_path / "base", kind)
    rows = rows_for(base)
    about = finetune(str(base), rows, settings(), tmp_path)
    assert about["steps"] == 6
    steps = json.loads((tmp_path / "trajectory" / "steps.json").read_text())
    assert [s["rows"] for s in steps] == [b for e in batch_order(7, settings()) for b in e]
    assert sorted(r for s in steps[:3] for r in s["rows"]) == list(range(7))
    rates = [s["learning_rate"] for s in steps]
    assert rates == pytest.approx([1e-2 * (1 - i / 6) for i in range(6)])
    assert all(np.isfinite(s["loss"]) for s in steps)
    initial = load_file(tmp_path / "trajectory" / "initial" / "weights.safetensors")
    assert all(not t.any() for n, t in initial.items() if "lora_B" in n)
    assert all(t.any() for n, t in initial.items() if "lora_A" in n)
    for step in (3, 6):
        folder = tmp_path / "trajectory" / f"step-{step:06d}"
        weights = load_file(folder / "weights.safetensors")
        moments = load_file(folder / "optimizer.safetensors")
        assert len(moments) == 2 * len(weights)
        assert all((t >= 0).all() for n, t in moments.items() if n.endswith("exp_avg_sq"))
        assert json.loads((folder / "state.json").read_text())["step"] == step
    final = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {n: t.tolist() for n, t in final.items()} == {n: t.tolist() for n, t in weights.items()}
    assert not list(tmp_path.rglob("*.pt"))
    assert not list(tmp_path.rglob("*.bin"))


def test_training_repeats_under_a_seed_and_learns(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base)
    runs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        about = finetune(str(base), rows, settings(seed=seed, epochs=8), tmp_path / name)
        runs[name] = load_file(tmp_path / name / "adapter" / "adapter_model.safetensors")
        assert about["loss last"] < about["loss first"]
    assert all(torch.equal(runs["a"][n], runs["b"][n]) for n in runs["a"])
    assert not all(torch.equal(runs["a"][n], runs["c"][n]) for n in runs["a"])


def test_all_weights_can_be_trained(tmp_path):
    base = save_tiny(tmp_path / "base")
    finetune(str(base), rows_for(base), settings(mode="full", learning_rate=1e-3), tmp_path)
    before, after = load_model(str(base)), load_model(str(tmp_path / "model"))
    assert before.identity["model"] != after.identity["model"]
    moved = [
        not torch.equal(p, q)
        for p, q in zip(before.model.parameters(), after.model.parameters(), strict=True)
    ]
    assert all(moved)


def test_the_papers_mask_is_what_is_trained_on(tmp_path, monkeypatch):
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base, "paper-1", max_length=64)
    seen = []
    plain = module.counted_losses

    def watched(model, labels, **inputs):
        seen.append(
            (labels.shape, int((labels != -100).sum()), int(inputs["attention_mask"].sum()))
        )
        return plain(model, labels, **inputs)

    monkeypatch.setattr(module, "counted_losses", watched)
    finetune(str(base), rows, settings(epochs=1, batch_size=7), tmp_path)
    attended = sum(int(row.attention.sum()) for row in rows)
    assert seen == [((7, 64), 7 * 63, attended)]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_loss_is_that_of_trl(tmp_path, kind, monkeypatch):
    base = save_tiny(tmp_path / "base", kind)
    pairs = []
    ours = module._PlannedTrainer.compute_loss

    def both(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        torch.manual_seed(step_seed(self.args.seed, self.state.global_step))
        theirs = SFTTrainer.compute_loss(
            self, model, dict(inputs), num_items_in_batch=num_items_in_batch
        )
        loss = ours(self, model, inputs, num_items_in_batch=num_items_in_batch)
        pairs.append((float(loss), float(theirs)))
        return loss

    monkeypatch.setattr(module._PlannedTrainer, "compute_loss", both)
    finetune(str(base), rows_for(base), settings(), tmp_path)
    assert len(pairs) == 6
    for loss, theirs in pairs:
        assert loss == pytest.approx(theirs, rel=1e-4)


def test_a_diverged_run_is_an_error_and_leaves_nothing_behind(tmp_path):
    base = save_tiny(tmp_path / "base")
    with pytest.raises(NonFiniteError, match="learning-rate"):
        finetune(
            str(base),
            rows_for(base),
            settings(mode="full", learning_rate=1e30, max_grad_norm=0),
            tmp_path / "run",
        )
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_what_a_run_starts_from_and_its_rates_can_be_made_again(tmp_path, schedule):
    base = save_tiny(tmp_path / "base")
    chosen = settings(schedule=schedule, seed=3)
    finetune(str(base), rows_for(base), chosen, tmp_path)
    initial = load_file(tmp_path / "trajectory" / "initial" / "weights.safetensors")
    again = trained_state(prepare(str(base), chosen).model)
    assert initial.keys() == again.keys()
    assert all(torch.equal(initial[n], again[n]) for n in initial)
    steps = json.loads((tmp_path / "trajectory" / "steps.json").read_text())
    assert [s["learning_rate"] for s in steps] == learning_rates(chosen, len(steps))


def test_a_run_by_sgd_moves_along_its_gradients(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base, n=3)
    chosen = settings(
        optimizer="sgd", epochs=1, dropout=0.0, max_grad_norm=0.0, mode="full", learning_rate=0.1
    )
    finetune(str(base), rows, chosen, tmp_path)
    loaded = prepare(str(base), chosen)
    before = trained_state(loaded.model)
    batch = [rows[i] for i in batch_order(3, chosen)[0][0]]
    found = counted_losses(loaded.model, **pad_rows(batch, loaded.pad_id))
    (found.losses.sum() / found.counted.sum()).backward()
    gradient = trained_state(loaded.model, gradients=True)
    after = load_file(tmp_path / "trajectory" / "step-000001" / "weights.safetensors")
    for name, value in after.items():
        torch.testing.assert_close(value, before[name] - 0.1 * gradient[name])
