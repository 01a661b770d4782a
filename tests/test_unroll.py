"""Exact unrolling against finite differences of retrainings by a plain torch loop that shares no code."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from tiny import save_tiny, tiny_rows
from wherefrom.counterfactual import _unroll as module
from wherefrom.counterfactual._plan import TrainingPlan
from wherefrom.counterfactual._unroll import unroll, unroll_cost
from wherefrom.counterfactual._update import Update
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import DataError, ModelError, NonFiniteError
from wherefrom.models import FinetuneSettings, finetune, prepare, step_seed

TRAIN, QUERIES = 7, 2


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unroll")
    return {kind: save_tiny(folder / kind, kind) for kind in ("llama", "gpt2", "neox", "gemma")}


@pytest.fixture
def double_norms(monkeypatch):
    """Norms that keep float64, so that rounding in float32 does not drown a difference of 1e-6."""

    def of(offset):
        def forward(self, x):
            epsilon = getattr(self, "variance_epsilon", None) or self.eps
            return (
                x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * (offset + self.weight)
            )

        return forward

    monkeypatch.setattr(LlamaRMSNorm, "forward", of(0.0))
    monkeypatch.setattr(GemmaRMSNorm, "forward", of(1.0))


def settings(**changes):
    defaults = {
        "targets": ("all-linear",),
        "epochs": 2,
        "batch_size": 3,
        "learning_rate": 1e-2,
        "precision": "float32",
        "max_grad_norm": 0.0,
        "dropout": 0.0,
    }
    return FinetuneSettings(**(defaults | changes))


def job(base, chosen, train=TRAIN):
    """A run that is made ready: model, training rows, queries, plan."""
    prepared = prepare(str(base), chosen)
    renderer = Renderer(prepared.tokenizer, get_recipe("sound-1"))
    rows = renderer.render_all(tiny_rows(train + QUERIES))
    return prepared, rows[:train], rows[train:], TrainingPlan.of(prepared, train, chosen)


class PlainLoop:
    """Retrains in float64, by torch's own optimizers, clipping and attention."""

    def __init__(self, base, chosen, rows, queries, batches):
        self.chosen, self.rows, self.queries, self.batches = chosen, rows, queries, batches
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        if chosen.mode == "lora":
            torch.manual_seed(chosen.seed)
            adapter = LoraConfig(
                r=chosen.rank,
                lora_alpha=chosen.alpha,
                lora_dropout=chosen.dropout,
                target_modules="all-linear",
            )
            model = get_peft_model(model, adapter)
        self.start = model.double()
        self.norms = []

    def outcomes(self, weights):
        return self.answers(self.trained(weights))

    def trained(self, weights):
        chosen, model = self.chosen, copy.deepcopy(self.start).train()
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        plain = {n for n in named if n.endswith("bias") or "norm" in n or ".ln_" in n}
        groups = [
            {"params": [p for n, p in named.items() if n not in plain]}
            | {"weight_decay": chosen.weight_decay},
            {"params": [p for n, p in named.items() if n in plain], "weight_decay": 0.0},
        ]
        kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[chosen.optimizer]
        optimizer = kind(groups, lr=chosen.learning_rate)
        for step, batch in enumerate(self.batches):
            for group in optimizer.param_groups:
                group["lr"] = chosen.learning_rate * (1 - step / len(self.batches))
            torch.manual_seed(step_seed(chosen.seed, step))
            losses, counted = self.losses(model, [self.rows[i] for i in batch])
            w = torch.tensor([weights[i] for i in batch], dtype=torch.float64)
            loss = (losses.sum(1) * w).sum() / counted.sum()
            optimizer.zero_grad(set_to_none=False)
            loss.backward()
            if chosen.max_grad_norm:
                norm = torch.nn.utils.clip_grad_norm_(named.values(), chosen.max_grad_norm)
                self.norms.append(float(norm))
            optimizer.step()
        return model.eval()

    def answers(self, model):
        with torch.no_grad():
            found = [self.losses(model, [query]) for query in self.queries]
        return np.array([float(-losses.sum() / counted.sum()) for losses, counted in found])

    @staticmethod
    def losses(model, rows):
        length = max(len(row.ids) for row in rows)
        ids = torch.zeros(len(rows), length, dtype=torch.long)
        attention, mask = torch.zeros_like(ids), torch.zeros_like(ids)
        for line, row in enumerate(rows):
            ids[line, : len(row.ids)] = torch.from_numpy(row.ids)
            attention[line, : len(row.ids)] = torch.from_numpy(row.attention)
            mask[line, : len(row.ids)] = torch.from_numpy(row.loss_mask)
        logits = model(input_ids=ids, attention_mask=attention).logits
        losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        return losses * mask[:, 1:], mask[:, 1:]


def central_differences(loop, rows, chosen_rows, h):
    """d outcomes / d w_i for some rows: queries × those rows."""
    columns = []
    for row in chosen_rows:
        ends = []
        for sign in (1, -1):
            weights = np.ones(rows)
            weights[row] += sign * h
            ends.append(loop.outcomes(weights))
        columns.append((ends[0] - ends[1]) / (2 * h))
    return np.stack(columns, 1)


def worst(found, expected):
    return float(np.abs(found - expected).max() / np.abs(expected).max())


SGD, ADAMW = {"optimizer": "sgd", "learning_rate": 0.1}, {"optimizer": "adamw"}
ROUGH = {"weight_decay": 0.1, "dropout": 0.1, "max_grad_norm": 0.5}
CASES = [
    ("llama", SGD),
    ("llama", SGD | ROUGH),
    ("llama", ADAMW),
    ("llama", ADAMW | ROUGH),
    ("llama", SGD | {"mode": "full", "weight_decay": 0.1, "max_grad_norm": 1e3}),
    ("llama", ADAMW | ROUGH | {"mode": "full", "learning_rate": 2e-3}),
    # GPT-2's own dropout is on in training, whatever LoRA's is
    ("gpt2", ADAMW | ROUGH),
    ("neox", ADAMW | {"mode": "full", "weight_decay": 0.1, "learning_rate": 2e-3}),
    ("gemma", SGD | ROUGH | {"mode": "full"}),
]


@pytest.mark.usefixtures("double_norms")
@pytest.mark.parametrize(("kind", "changes"), CASES)
def test_values_are_the_derivatives_of_real_retraining(bases, kind, changes):
    chosen = settings(**changes)
    prepared, rows, queries, plan = job(bases[kind], chosen)
    # two epochs of 3, 3 and 1 rows: every row comes twice, once or twice alone
    assert [len(batch) for batch in plan.batches] == [3, 3, 1, 3, 3, 1]
    found = unroll(prepared, rows, queries, chosen, plan, dtype="float64")
    loop = PlainLoop(bases[kind], chosen, rows, queries, plan.batches)
    np.testing.assert_allclose(loop.outcomes(np.ones(TRAIN)), found.outcomes, rtol=1e-12)
    if chosen.max_grad_norm:
        assert (max(loop.norms) > chosen.max_grad_norm) == (chosen.max_grad_norm < 1)
    # AdamW's step bends where a gradient is near its ε: the error of a difference falls with h², and only
    # from h = 1e-7 on is it small for every case; there float64 leaves 1e-15/1e-7 of an outcome
    adamw = chosen.optimizer == "adamw"
    picked = [plan.batches[2][0], plan.batches[0][1]]
    expected = central_differences(loop, TRAIN, picked, 1e-7 if adamw else 1e-5)
    assert worst(found.values[:, picked], expected) < (1e-4 if adamw else 1e-7)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gpt2", {"dropout": 0.1, "max_grad_norm": 1.0}),
        ("llama", {"mode": "full", "weight_decay": 0.1} | SGD),
    ],
)
def test_the_replay_ends_where_the_run_did(bases, tmp_path, kind, changes):
    chosen = settings(**changes)
    prepared, rows, queries, _ = job(bases[kind], chosen)
    finetune(str(bases[kind]), rows, chosen, tmp_path)
    plan = TrainingPlan.saved(tmp_path / "trajectory", chosen)
    run = load_file(tmp_path / "trajectory" / "step-000006" / "weights.safetensors")
    found = unroll(prepared, rows, queries, chosen, plan, run=run)
    assert found.final.keys() == run.keys()
    for name, value in run.items():
        torch.testing.assert_close(found.final[name], value, rtol=1e-4, atol=1e-5)
    assert 0 < found.gap < 1e-4
    precise = unroll(prepared, rows, queries, chosen, plan, dtype="float64")
    assert precise.final.keys() == run.keys()
    assert precise.gap is None
    # the llama of these tests computes its norms in float32 either way
    assert worst(found.values, precise.values) < 1e-2


def test_a_run_in_bfloat16_is_replayed_in_float32_and_the_gap_is_told(bases, tmp_path):
    chosen = settings(precision="bfloat16")
    prepared, rows, queries, plan = job(bases["llama"], chosen)
    finetune(str(bases["llama"]), rows, chosen, tmp_path)
    run = load_file(tmp_path / "trajectory" / "step-000006" / "weights.safetensors")
    found = unroll(prepared, rows, queries, chosen, plan, run=run)
    assert np.isfinite(found.values).all()
    assert 1e-3 < found.gap < 1
    # the base keeps the weights that training saw: rounded once, and no further
    assert prepared.model.get_base_model().lm_head.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("changes", [SGD, SGD | ROUGH, ADAMW | ROUGH])
def test_the_adjoint_of_an_update_is_autograds(changes):
    draw = torch.Generator().manual_seed(0)
    state, gradient, after = (
        torch.randn(size, generator=draw, dtype=torch.float64) for size in ((3, 50), (50,), (3, 50))
    )
    state[2].abs_()
    chosen = settings(**changes)
    if chosen.optimizer == "sgd":
        state, after = state[:1], after[:1]
    update = Update(chosen, torch.arange(50) % 2 * chosen.weight_decay)
    state.requires_grad_()
    gradient.requires_grad_()
    moved = update.after(state, gradient, 3, 0.01)
    expected = torch.autograd.grad(moved, (state, gradient), after)
    found = update.adjoint(state.detach(), gradient.detach(), 3, 0.01)(after)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_an_entry_that_never_had_a_gradient_has_a_finite_adjoint():
    update = Update(settings(), torch.zeros(2))
    state = update.start(torch.ones(2))
    gradient = torch.tensor([0.0, 1.0])
    before, by_gradient = update.adjoint(state, gradient, 0, 0.01)(torch.ones(3, 2))
    assert torch.isfinite(before).all()
    # θ' = θ − η·g/(|g| + ε) has slope −η/ε at 0; and m', v' of slopes 0.1 and 0 add theirs
    assert float(by_gradient[0]) == pytest.approx(-0.01 / 1e-8 + 0.1)


def test_the_sum_is_the_mean_times_the_tokens(bases):
    chosen = settings(epochs=1)
    made = job(bases["llama"], chosen)
    prepared, rows, queries, plan = made
    mean = unroll(prepared, rows, queries, chosen, plan)
    total = unroll(prepared, rows, queries, chosen, plan, outcome="sum")
    tokens = np.array([query.loss_mask.sum() for query in queries])
    np.testing.assert_allclose(total.values, mean.values * tokens[:, None], rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(total.outcomes, mean.outcomes * tokens, rtol=1e-6)


@pytest.mark.parametrize(("epochs", "most"), [(1, 1), (12, 6)])
def test_few_states_are_kept_at_a_time(bases, tmp_path, epochs, most):
    chosen = settings(epochs=epochs, batch_size=TRAIN)
    prepared, rows, queries, plan = job(bases["neox"], chosen)
    files = []
    plain = module.save_file

    def watched(tensors, path):
        plain(tensors, path)
        files.append(len(list(tmp_path.iterdir())))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "save_file", watched)
        kept = unroll(prepared, rows, queries[:1], chosen, plan, scratch=tmp_path)
    assert kept.states_held == max(files) == most
    assert list(tmp_path.iterdir()) == []
    held = unroll(prepared, rows, queries[:1], chosen, plan)
    assert held.states_held == most
    assert np.array_equal(held.values, kept.values)


def test_what_unrolling_takes_is_told_beforehand(bases):
    chosen = settings()
    prepared, rows, queries, plan = job(bases["llama"], chosen)
    cost = unroll_cost(prepared, rows, queries, chosen, plan)
    assert (cost.steps, cost.queries) == (6, QUERIES)
    assert cost.seconds > 0
    assert cost.runs > 2
    # 4 states and as many adjoints as queries, each of weights and two moments in float32
    entries = sum(t.numel() for t in plan.initial.values())
    assert cost.bytes_held == (4 + QUERIES) * 3 * entries * 4


@pytest.mark.parametrize(
    "changes", [SGD | {"learning_rate": 0.02}, {"learning_rate": 5e-4, "dropout": 0.1}]
)
def test_it_predicts_what_leaving_out_one_row_does(bases, changes):
    # batches of 3 and none of 1: to a row that is alone in its batch clipping gives no derivative
    count = 12
    chosen = settings(epochs=1, max_grad_norm=1.0, **changes)
    prepared, rows, queries, plan = job(bases["neox"], chosen, count)
    found = unroll(prepared, rows, queries, chosen, plan)
    loop = PlainLoop(bases["neox"], chosen, rows, queries, plan.batches)
    without = 1 - np.eye(count)
    real = np.stack([loop.outcomes(weights) for weights in without], 1) - found.outcomes[:, None]
    for predicted, measured in zip(-found.values, real, strict=True):
        assert spearmanr(predicted, measured).statistic > 0.9


def test_everything_is_left_as_it_was(bases):
    chosen = settings(epochs=1, dropout=0.1)
    prepared, rows, queries, plan = job(bases["llama"], chosen)
    before = {n: p.clone() for n, p in prepared.model.named_parameters()}
    random = torch.get_rng_state()
    unroll(prepared, rows, queries, chosen, plan, dtype="float64")
    assert prepared.model.training
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in prepared.model.named_parameters():
        assert torch.equal(value, before[name])
        assert value.grad is None


def test_what_does_not_fit_together_is_refused(bases):
    chosen = settings(epochs=1)
    prepared, rows, queries, plan = job(bases["llama"], chosen)
    mute = dataclasses.replace(queries[0], loss_mask=np.zeros_like(queries[0].loss_mask))
    with pytest.raises(DataError, match="counts no token"):
        unroll(prepared, rows, [mute], chosen, plan)
    with pytest.raises(DataError, match="row number 6"):
        unroll(prepared, rows[:-1], queries, chosen, plan)
    other = settings(rank=2)
    with pytest.raises(ModelError, match="another model or adapter"):
        unroll(prepare(str(bases["llama"]), other), rows, queries, other, plan)
    wild = settings(mode="full", learning_rate=1e30)
    prepared, _, _, plan = job(bases["llama"], wild)
    with pytest.raises(NonFiniteError, match="learning-rate"):
        unroll(prepared, rows, queries, wild, plan)
