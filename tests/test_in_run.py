"""In-run Data Shapley against brute force over all subsets of a batch, and against the step it explains."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from tiny import save_tiny, tiny_rows
from wherefrom.counterfactual._in_run import in_run_shapley
from wherefrom.counterfactual._plan import TrainingPlan
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import DataError, SettingError
from wherefrom.models import FinetuneSettings, prepare

ROWS, QUERIES = 5, 2
RATE = 0.05


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    # GPT-NeoX computes in float64 throughout when asked; the norms of the others do not
    return save_tiny(tmp_path_factory.mktemp("in-run") / "neox", "neox")


def settings(**changes):
    defaults = {
        "mode": "full",
        "optimizer": "sgd",
        "learning_rate": RATE,
        "schedule": "constant",
        "epochs": 1,
        "batch_size": 2,
        "precision": "float32",
        "max_grad_norm": 0.0,
    }
    return FinetuneSettings(**(defaults | changes))


def job(base, chosen):
    prepared = prepare(str(base), chosen)
    renderer = Renderer(prepared.tokenizer, get_recipe("sound-1"))
    rows = renderer.render_all(tiny_rows(ROWS + QUERIES))
    return prepared, rows[:ROWS], rows[ROWS:], TrainingPlan.of(prepared, ROWS, chosen)


def one_step(plan, batch, rate=RATE):
    return replace(plan, batches=(tuple(batch),), rates=(rate,))


class PlainModel:
    """Losses and gradients in float64, row by row, by torch alone."""

    def __init__(self, base):
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        self.model = model.double().eval()
        self.named = dict(self.model.named_parameters())
        self.start = self.vector(p.detach() for p in self.named.values())

    @staticmethod
    def vector(parts):
        return torch.cat([part.reshape(-1) for part in parts])

    def put(self, vector):
        sizes = [p.numel() for p in self.named.values()]
        with torch.no_grad():
            for parameter, part in zip(self.named.values(), vector.split(sizes), strict=True):
                parameter.copy_(part.view_as(parameter))

    def loss(self, row):
        ids = torch.from_numpy(row.ids)[None]
        losses = F.cross_entropy(
            self.model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none"
        )
        return losses[torch.from_numpy(row.loss_mask[1:])].sum()

    def outcome(self, query, vector):
        self.put(vector)
        with torch.no_grad():
            return float(-self.loss(query)) / int(query.loss_mask.sum())

    def gradient(self, row, vector=None):
        """Gradient of the row's summed loss."""
        self.put(self.start if vector is None else vector)
        return self.vector(torch.autograd.grad(self.loss(row), list(self.named.values())))

    def slope(self, query, vector=None):
        return -self.gradient(query, vector) / int(query.loss_mask.sum())

    def curved(self, query, direction, h=1e-5):
        """H_f·direction by central differences of the gradient: no second derivative is taken."""
        up = self.slope(query, self.start + h * direction)
        return (up - self.slope(query, self.start - h * direction)) / (2 * h)


def brute_force(players, value):
    """Shapley values by their definition: a row's gain, over all subsets of the others."""
    found = []
    for row in range(players):
        others = [i for i in range(players) if i != row]
        total = 0.0
        for size in range(players):
            share = math.factorial(size) * math.factorial(players - size - 1)
            for subset in itertools.combinations(others, size):
                gain = value((*subset, row)) - value(subset)
                total += share * gain / math.factorial(players)
        found.append(total)
    return np.array(found)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_values_are_the_shapley_values_of_the_quadratic_game(base, optimizer, clip):
    chosen = settings(optimizer=optimizer, max_grad_norm=clip, learning_rate=1e-3)
    prepared, rows, queries, plan = job(base, chosen)
    batch = (3, 0, 4, 1)
    adamw = optimizer == "adamw"
    found = in_run_shapley(
        prepared,
        rows,
        queries,
        chosen,
        one_step(plan, batch, 1e-3),
        preconditioned=adamw,
        dtype="float64",
    )
    plain = PlainModel(base)
    counted = sum(int(rows[i].loss_mask.sum()) for i in batch)
    parts = torch.stack([plain.gradient(rows[i]) for i in batch]) / counted
    whole = parts.sum(0)
    if clip:
        assert whole.norm() > clip
        parts = parts * clip / (whole.norm() + 1e-6)
    # the first step of AdamW divides by its own gradient's size
    moves = -1e-3 * parts / (parts.sum(0).abs() + 1e-8 if adamw else 1.0)
    for line, query in enumerate(queries):
        slope = plain.slope(query)
        first = (moves @ slope).numpy()
        curved = torch.stack([plain.curved(query, move) for move in moves])
        pairs = (moves @ curved.T).numpy()

        def value(subset, first=first, pairs=pairs):
            taken = list(subset)
            return first[taken].sum() + pairs[np.ix_(taken, taken)].sum() / 2

        expected = brute_force(len(batch), value)
        np.testing.assert_allclose(found.first[line, batch], first, rtol=1e-9)
        scale = np.abs(expected - first).max()
        np.testing.assert_allclose(found.second[line, batch], expected - first, atol=1e-6 * scale)
        assert found.values[line, batch].sum() == pytest.approx(value(range(len(batch))), rel=1e-6)
    assert not found.values[:, 2].any()


def test_the_two_orders_explain_a_step_up_to_its_square_and_cube(base):
    chosen = settings()
    prepared, rows, queries, plan = job(base, chosen)
    plain = PlainModel(base)
    before = np.array([plain.outcome(query, plain.start) for query in queries])
    missed = []
    for rate in (1e-3, 5e-4, 2.5e-4):
        once = one_step(plan, (0, 1, 2, 3), rate)
        found = in_run_shapley(prepared, rows, queries, chosen, once, dtype="float64")
        ended = plain.vector(found.final[name] for name in plain.named)
        real = np.array([plain.outcome(query, ended) for query in queries]) - before
        missed.append((real - found.first.sum(1), real - found.values.sum(1)))
    for (first, both), (first_half, both_half) in itertools.pairwise(missed):
        np.testing.assert_allclose(first / first_half, 4, rtol=0.1)
        np.testing.assert_allclose(both / both_half, 8, rtol=0.1)


def test_first_order_values_do_not_depend_on_the_rest_of_the_batch(base):
    chosen = settings()
    prepared, rows, queries, plan = job(base, chosen)
    alone = []
    for batch in ((0,), (0, 1), (2, 0, 3, 4)):
        once = one_step(plan, batch)
        found = in_run_shapley(
            prepared, rows, queries, chosen, once, second_order=False, dtype="float64"
        )
        assert found.second is None
        # what is left of the others is the tokens that the batch's mean is taken over
        alone.append(found.values[:, 0] * sum(rows[i].loss_mask.sum() for i in batch))
    np.testing.assert_allclose(alone[1], alone[0], rtol=1e-9)
    np.testing.assert_allclose(alone[2], alone[0], rtol=1e-9)


def test_a_runs_values_are_the_sum_of_its_steps(base):
    chosen = settings(epochs=2, max_grad_norm=1.0, weight_decay=0.1)
    prepared, rows, queries, plan = job(base, chosen)
    assert len(plan.batches) == 6
    whole = in_run_shapley(prepared, rows, queries, chosen, plan, dtype="float64")
    total, state = np.zeros((2, QUERIES, ROWS)), plan.initial
    for batch, rate in zip(plan.batches, plan.rates, strict=True):
        once = replace(one_step(plan, batch, rate), initial=state)
        step = in_run_shapley(prepared, rows, queries, chosen, once, dtype="float64")
        total += step.first, step.second
        state = step.final
    np.testing.assert_allclose(whole.first, total[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(whole.second, total[1], rtol=1e-9, atol=1e-12)
    rough = in_run_shapley(prepared, rows, queries, chosen, plan, run=state)
    np.testing.assert_allclose(rough.values, whole.values, rtol=1e-3, atol=1e-5)
    assert 0 < rough.gap < 1e-4


def test_an_adapter_under_adamw_and_dropout(base):
    chosen = settings(mode="lora", optimizer="adamw", learning_rate=1e-3, dropout=0.1, epochs=2)
    prepared, rows, queries, plan = job(base, chosen)
    published = in_run_shapley(prepared, rows, queries, chosen, plan)
    ours = in_run_shapley(prepared, rows, queries, chosen, plan, preconditioned=True)
    assert np.isfinite(ours.values).all()
    assert np.isfinite(published.values).all()
    assert not np.allclose(ours.values, published.values)
    total = in_run_shapley(prepared, rows, queries, chosen, plan, outcome="sum")
    tokens = np.array([query.loss_mask.sum() for query in queries])[:, None]
    np.testing.assert_allclose(total.values, published.values * tokens, rtol=1e-3, atol=1e-6)


def test_what_does_not_fit_together_is_refused(base):
    chosen = settings()
    prepared, rows, queries, plan = job(base, chosen)
    with pytest.raises(SettingError, match="adamw"):
        in_run_shapley(prepared, rows, queries, chosen, plan, preconditioned=True)
    mute = replace(queries[0], loss_mask=np.zeros_like(queries[0].loss_mask))
    with pytest.raises(DataError, match="counts no token"):
        in_run_shapley(prepared, rows, [mute], chosen, plan)
