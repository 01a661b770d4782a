"""Scores taken apart over tokens: the parts add up, and each is what its definition says."""

import numpy as np
import pytest
import torch

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.capture import Pass
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import SettingError
from wherefrom.methods import cannot_take_apart, parse_method
from wherefrom.run import Run
from wherefrom.signals import Kind, Need, gradient_name

APART = (
    "gradient_dot",
    "gradient_cosine",
    "gradient_cosine(scope=whole)",
    "influence",
    "influence(scope=whole)",
    "influence(curvature=true)",
    "influence(normalise=block)",
    "influence(normalise=row)",
    "datainf",
    "lissa",
    "logra(project=4)",
    "gradient_dot(normalise=row, layers=last1)",
    "kfac",
    "tracin",
    "ekfac(checkpoints=rate)",
    "gradient_cosine(checkpoints=mean)",
    "influence(curvature=true, checkpoints=base)",
)
NOT_APART = {
    "bm25": "does not compare gradients",
    "relative_influence": "no sum over parts",
    "gradient_dot(centre=true)": "centring",
    "influence(whiten=0.1)": "whitening",
    "gradient_dot(aggregate=rank)": "aggregate=rank",
    "dda": "the base model's scores",
}


@pytest.fixture(scope="module", params=["lora", "full"])
def run(request, tmp_path_factory, tiny_folder, cli):
    folder = tmp_path_factory.mktemp(request.param)
    data = write_jsonl(folder / "t.jsonl", row_dicts(tiny_rows(20)))
    tuned = ("finetune", "--data", data, "--model", tiny_folder, "--epochs", 5, "--rank", 2)
    made = cli(*tuned, "--out", folder / "run", "--mode", request.param)
    assert made.code == 0, made.err
    made = cli("index", folder / "run", "--methods", ",".join(APART), "--policy", "exact")
    assert made.code == 0, made.err
    return Run.open(folder / "run")


@pytest.mark.parametrize("spec", APART)
def test_tokens_of_either_side_add_up_to_the_score(run, spec):
    answer = run.trace("Class 1: tell me about sea", "The sea is 3 miles away.", [spec])
    found = run.tokens(answer, k=3)
    assert [one.row for one in found] == answer.top(3).ids[0].tolist()
    spread = float(np.abs(answer.scores[0].values).max())
    for one in found:
        stored = answer.scores[0].values[0, answer.scores[0].train_ids.index(one.row)]
        assert one.score == pytest.approx(stored, abs=2e-4 * spread)
        for side in (one.query, one.train):
            total = sum(token.value for token in side if token.value is not None)
            assert total == pytest.approx(one.score, abs=2e-4 * spread)
        assert max(map(abs, one.missing)) <= 2e-4 * spread


def test_only_counted_tokens_of_the_query_have_a_value_and_all_of_the_row(run):
    answer = run.trace("Class 1: tell me about sea", "The sea is 3 miles away.")
    (one,) = run.tokens(answer, k=1)
    assert "".join(t.text for t in one.query if t.response).startswith("The sea is 3 miles")
    assert all((t.value is not None) == t.response for t in one.query)
    assert all(t.value is not None for t in one.train)
    row = next(row for row in run.train if row.id == one.row)
    text = "".join(t.text for t in one.train)
    assert row.prompt in text
    assert row.response in text


def test_positions_are_those_of_autograd(tiny_folder, run):
    """Each position's part against gradients of a loss whose input at that position alone is the leaf."""
    renderer = Renderer(run.model.tokenizer, get_recipe("sound-1"))
    row = renderer.render(run.train[3])
    tool = Pass(run.model.model, frozenset({Need(Kind.GRADIENT)}))
    apart, whole = tool.by_position(row), tool.run([row])
    assert all(len(values) == len(row.ids) for values in apart.values())
    for block in tool.blocks:
        name = gradient_name(block.name)
        expected = whole[name][0]
        np.testing.assert_allclose(apart[name].sum(0), expected, rtol=1e-3, atol=1e-5)

    # the oracle: δ_t a_tᵀ from hooks of its own
    target = tool.targets[-1]
    seen = {}
    forward = target.module.register_forward_hook(
        lambda _, inputs, out: seen.update(a=inputs[0].detach())
    )
    backward = target.module.register_full_backward_hook(
        lambda _, __, grads: seen.update(d=grads[0].detach())
    )
    ids = torch.tensor(row.ids)[None]
    labels = torch.where(torch.tensor(row.loss_mask)[None], ids, -100)
    run.model.model(input_ids=ids, labels=labels).loss.backward()
    forward.remove()
    backward.remove()
    run.model.model.zero_grad()
    expected = torch.einsum("to,ti->toi", seen["d"][0], seen["a"][0]).numpy()
    found = apart[gradient_name(target.weight.name)]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_a_token_of_the_query_is_the_score_of_its_own_loss(run):
    answer = run.trace("Class 1: tell me about sea", "The sea is 3 miles away.", ["gradient_dot"])
    (one,) = run.tokens(answer, k=1)
    renderer = Renderer(run.model.tokenizer, get_recipe("sound-1"))
    asked, row = (
        renderer.render(answer.query),
        renderer.render(next(r for r in run.train if r.id == one.row)),
    )
    parameters = [p for p in run.model.model.parameters() if p.requires_grad]
    traced = {
        t.weight.name for t in Pass(run.model.model, frozenset({Need(Kind.GRADIENT)})).targets
    }

    def gradient(token_row, counted):
        ids = torch.tensor(token_row.ids)[None]
        logits = run.model.model(input_ids=ids).logits[0].log_softmax(-1)
        loss = -sum(logits[t - 1, ids[0, t]] for t in counted) / int(token_row.loss_mask.sum())
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        names = [n for n, p in run.model.model.named_parameters() if p.requires_grad]
        kept = [
            g.flatten()
            for n, g in zip(names, found, strict=True)
            if g is not None and any(n.replace(".default", "").endswith(t) for t in traced)
        ]
        return torch.cat(kept)

    trained = gradient(row, np.flatnonzero(row.loss_mask))
    counted = np.flatnonzero(asked.loss_mask)
    first = [float(gradient(asked, [t]) @ trained) for t in counted[:3]]
    np.testing.assert_allclose([one.query[t].value for t in counted[:3]], first, rtol=2e-3)


@pytest.mark.parametrize(("spec", "why"), NOT_APART.items())
def test_what_is_no_sum_over_tokens_says_so(spec, why):
    assert why in cannot_take_apart(parse_method(spec))


def test_a_row_that_is_not_there_is_named(run):
    answer = run.trace("Class 1: tell me about sea", "The sea is 3 miles away.")
    with pytest.raises(SettingError, match="no training row 'nobody'"):
        run.tokens(answer, ["nobody"])
