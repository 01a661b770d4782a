"""Retraining: the run's own recipe, again, on other rows; many models at once; nothing trained twice."""

import json

import numpy as np
import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from tiny import VOCAB, save_tiny, tiny_model, tiny_rows
from wherefrom.counterfactual import Ending, OutcomeCache, Retrainer, TrainingPlan, Workshop
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import ModelError, StoreError
from wherefrom.models import (
    FinetuneSettings,
    counted_losses,
    finetune,
    load_model,
    pad_rows,
    prepare,
    put_state,
    step_seed,
    trained_state,
)


def rows_for(folder, n=7):
    loaded = load_model(str(folder), device="cpu")
    return Renderer(loaded.tokenizer, get_recipe("sound-1")).render_all(tiny_rows(n))


def settings(**changes):
    defaults = {"epochs": 3, "batch_size": 3, "learning_rate": 1e-2, "precision": "float32"}
    return FinetuneSettings(**(defaults | changes))


def gap(left, right):
    assert left.keys() == right.keys()
    return max(float((left[n] - right[n]).abs().max()) for n in left)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox", "gemma"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mode": "full", "learning_rate": 1e-3, "weight_decay": 0.3},
        {"optimizer": "sgd", "learning_rate": 0.5, "max_grad_norm": 0.05, "schedule": "cosine"},
    ],
    ids=["lora", "full", "sgd"],
)
def test_retraining_on_all_rows_gives_the_fine_tuned_model_back(tmp_path, kind, changes):
    base = save_tiny(tmp_path / "base", kind)
    rows, chosen = rows_for(base), settings(**changes)
    finetune(str(base), rows, chosen, tmp_path)
    final = load_file(tmp_path / "trajectory" / "step-000009" / "weights.safetensors")
    first = load_file(tmp_path / "trajectory" / "initial" / "weights.safetensors")
    again = Retrainer(str(base), rows, rows[:2], chosen, trajectory=tmp_path / "trajectory")
    again.train(np.ones((1, 7)), chosen.seed)
    moved = gap(first, final)
    assert moved > 1e-3
    assert gap(again.state(0), final) < 1e-3 * moved


def by_hand(base, rows, chosen, kept):
    """One model, PEFT's own layers, every row in its batch; a row's loss is multiplied by its weight."""
    loaded = prepare(str(base), chosen)
    plan = TrainingPlan.of(loaded, len(rows), chosen)
    parameters = [p for p in loaded.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=chosen.weight_decay)
    for step, (batch, rate) in enumerate(zip(plan.batches, plan.rates, strict=True)):
        optimizer.param_groups[0]["lr"] = rate
        torch.manual_seed(step_seed(chosen.seed, step))
        found = counted_losses(loaded.model, **pad_rows([rows[i] for i in batch], loaded.pad_id))
        weights = torch.tensor([float(kept[i]) for i in batch])
        optimizer.zero_grad()
        ((found.losses.sum(1) * weights).sum() / found.counted.sum()).backward()
        torch.nn.utils.clip_grad_norm_(parameters, chosen.max_grad_norm)
        optimizer.step()
    return get_peft_model_state_dict(loaded.model)


def test_adapters_trained_together_are_those_trained_alone(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows, chosen = rows_for(base), settings(dropout=0.3, max_grad_norm=0.1, weight_decay=0.1)
    rng = np.random.default_rng(0)
    kept = rng.random((5, 7)) < 0.5
    kept[0], kept[1] = False, True
    together = Retrainer(str(base), rows, [], chosen, together=5)
    together.train(kept.astype(float), chosen.seed)
    for index, line in enumerate(kept):
        assert gap(together.state(index), by_hand(base, rows, chosen, line)) < 2e-5


def test_outcomes_are_those_of_the_model_that_was_trained(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows, chosen = rows_for(base), settings()
    finetune(str(base), rows, chosen, tmp_path)
    queries = rows[3:6]
    again = Retrainer(str(base), rows, queries, chosen, trajectory=tmp_path / "trajectory")
    found = again.outcomes(np.ones((2, 7)), chosen.seed)
    tuned = load_model(str(base), tmp_path / "adapter", device="cpu").model
    for q, row in enumerate(queries):
        ids = torch.from_numpy(row.ids)[None]
        log_p = tuned(ids).logits[0, :-1].double().log_softmax(-1)
        said = torch.from_numpy(row.ids[1:])
        counted = torch.from_numpy(row.loss_mask[1:])
        p = log_p[torch.arange(len(said)), said][counted]
        expected = {
            "log_probability": float(p.mean()),
            "margin": float((p - torch.log1p(-p.exp())).mean()),
            "greedy": float((log_p.argmax(-1) == said)[counted].all()),
        }
        for name, value in expected.items():
            assert found[name][:, q] == pytest.approx([value, value], abs=1e-3)


def test_another_seed_has_other_batches_dropout_and_first_weights(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows, chosen = rows_for(base), settings()
    finetune(str(base), rows, settings(seed=1), tmp_path)
    again = Retrainer(str(base), rows, [], chosen)
    again.train(np.ones((1, 7)), 1)
    final = load_file(tmp_path / "trajectory" / "step-000009" / "weights.safetensors")
    assert gap(again.state(0), final) < 1e-5
    assert again.plan(0).batches != again.plan(1).batches


def workshop(base, rows, folder, chosen=None, **changes):
    retrainer = Retrainer(str(base), rows, rows[:2], chosen or settings(), **changes)
    return Workshop(retrainer, OutcomeCache(folder))


def test_no_model_is_trained_twice(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base)
    weights = np.ones((3, 7))
    weights[0, 0] = weights[1, 1] = 0
    first = workshop(base, rows, tmp_path / "cache", together=2)
    values = first.outcomes(weights, [0, 1], "log_probability", "test")
    assert values.shape == (2, 3, 2)
    assert first.trained == 6
    # by another object, in another order, for another outcome, with rows asked twice
    second = workshop(base, rows, tmp_path / "cache", together=2)
    again = second.outcomes(weights[[2, 0, 0]], [1], "log_probability", "test")
    assert second.trained == 0
    assert np.array_equal(again[0], values[1][[2, 0, 0]])
    assert second.outcomes(weights, [0], "margin", "test").shape == (1, 3, 2)
    assert second.trained == 0
    third = weights.copy()
    third[2, 5] = 0
    second.outcomes(third, [0], "log_probability", "test")
    assert second.trained == 1


CHANGES = [
    {"learning_rate": 2e-2},
    {"epochs": 4},
    {"batch_size": 2},
    {"rank": 2},
    {"alpha": 8.0},
    {"dropout": 0.0},
    {"targets": ("q_proj",)},
    {"schedule": "constant"},
    {"weight_decay": 0.1},
    {"max_grad_norm": 0.5},
    {"optimizer": "sgd"},
    {"mode": "full"},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: next(iter(c)))
def test_a_changed_recipe_never_meets_an_old_entry(tmp_path, change):
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base)
    weights = np.ones((1, 7))
    old = workshop(base, rows, tmp_path / "cache")
    old.outcomes(weights, [0], "log_probability", "test")
    new = workshop(base, rows, tmp_path / "cache", settings(**change))
    new.outcomes(weights, [0], "log_probability", "test")
    assert new.trained == 1


def test_every_setting_is_in_the_key(tmp_path):
    named = {next(iter(change)) for change in CHANGES} | {"seed", "precision"}
    assert named == set(FinetuneSettings.model_fields)
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base)
    one = Retrainer(str(base), rows, [], settings(precision="float32"))
    other = Retrainer(str(base), rows, [], settings(precision="bfloat16"))
    keys = [r.key(np.ones(7), seed) for r in (one, other) for seed in (0, 1)]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == 4


def test_other_rows_another_model_and_another_template_have_other_keys(tmp_path):
    base, twin = save_tiny(tmp_path / "base"), save_tiny(tmp_path / "twin")
    tiny_model("llama", VOCAB, seed=1).save_pretrained(twin)
    loaded = load_model(str(base), device="cpu")
    plain = Renderer(loaded.tokenizer, get_recipe("sound-1", template="plain"))
    masked = Renderer(loaded.tokenizer, get_recipe("sound-1", mask="prompt+response"))
    rows = rows_for(base)
    variants = [
        (base, rows),
        (twin, rows),
        (base, rows[::-1]),
        (base, plain.render_all(tiny_rows(7))),
        (base, masked.render_all(tiny_rows(7))),
    ]
    keys = [Retrainer(str(b), r, [], settings()).key(np.ones(7), 0) for b, r in variants]
    assert len({json.dumps(key, sort_keys=True) for key in keys}) == len(variants)


def test_a_query_that_was_not_asked_before_is_asked(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base)
    weights = np.ones((1, 7))
    workshop(base, rows, tmp_path / "cache").outcomes(weights, [0], "margin", "test")
    retrainer = Retrainer(str(base), rows, rows[1:4], settings())
    wider = Workshop(retrainer, OutcomeCache(tmp_path / "cache"))
    wider.outcomes(weights, [0], "margin", "test")
    assert wider.trained == 1
    narrow = Workshop(
        Retrainer(str(base), rows, rows[3:4], settings()), OutcomeCache(tmp_path / "cache")
    )
    narrow.outcomes(weights, [0], "margin", "test")
    assert narrow.trained == 0


@pytest.mark.parametrize("damage", ["{", '{"entries": [{}]}', '{"entries": 3}', "edited"])
def test_a_damaged_cache_file_is_named(tmp_path, damage):
    base = save_tiny(tmp_path / "base")
    rows = rows_for(base)
    workshop(base, rows, tmp_path / "cache").outcomes(np.ones((1, 7)), [0], "margin", "test")
    (path,) = (tmp_path / "cache").glob("*.json")
    if damage == "edited":
        damage = path.read_text().replace('"epochs": 3', '"epochs": 4')
    path.write_text(damage)
    with pytest.raises(StoreError, match=path.name):
        OutcomeCache(tmp_path / "cache")


def test_a_folder_of_other_things_is_no_cache(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="--cache"):
        OutcomeCache(tmp_path)


def test_an_adapter_of_another_kind_is_refused():
    from peft import LoraConfig, get_peft_model

    from wherefrom.counterfactual._trainees import Adapters

    dora = LoraConfig(use_dora=True, target_modules=["q_proj"], task_type="CAUSAL_LM")
    with pytest.raises(ModelError, match="plain LoRA"):
        Adapters(get_peft_model(tiny_model("llama", 384), dora))


@pytest.mark.parametrize("changes", [{}, {"optimizer": "sgd"}, {"mode": "full"}], ids=str)
def test_a_tail_patch_steps_down_the_mean_loss_of_the_chosen_rows(tmp_path, changes):
    base = save_tiny(tmp_path / "base")
    rows, chosen = rows_for(base), settings(**changes)
    finetune(str(base), rows, chosen, tmp_path)
    trajectory = tmp_path / "trajectory"
    ending = Ending.saved(trajectory)
    assert ending.steps == 9
    assert ending.rate == pytest.approx(1e-2 * (3 + 2 + 1) / 9 / 3)
    again = Retrainer(str(base), rows, rows[:3], chosen, trajectory=trajectory)
    sets = [[1, 4], [0, 2, 5]] if chosen.mode == "lora" else [[1, 4]]
    weights = np.zeros((len(sets), 7))
    for line, members in zip(weights, sets, strict=True):
        line[members] = 1
    found = again.patched(ending, weights, 1)
    for index, members in enumerate(sets):
        loaded = prepare(str(base), chosen)
        put_state(loaded.model, ending.weights)
        loaded.model.eval()
        seen = counted_losses(loaded.model, **pad_rows([rows[i] for i in members], loaded.pad_id))
        (seen.losses.sum() / seen.counted.sum()).backward()
        moved = trained_state(loaded.model, gradients=True)
        for name, gradient in moved.items():
            scale = 1.0
            if ending.second:
                scale = (ending.second[name] / (1 - 0.999**9)).sqrt() + 1e-8
            moved[name] = ending.weights[name] - ending.rate * gradient / scale
        assert gap(again.state(index), moved) < 1e-5
        put_state(loaded.model, moved)
        with torch.no_grad():
            after = counted_losses(loaded.model, **pad_rows(rows[:3], loaded.pad_id))
        expected = (-after.losses.sum(1) / after.counted.sum(1)).numpy()
        assert found["log_probability"][index] == pytest.approx(expected, abs=1e-3)
