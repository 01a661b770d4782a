"""What a pass reads beside the loss gradient, each against autograd on one row alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from test_capture import KINDS, rows_of, tuned
from tiny import tiny_tokenizer
from wherefrom.capture import Pass, _token_weights
from wherefrom.errors import SettingError
from wherefrom.models import clean_name
from wherefrom.signals import STATE_GRADIENT, TOKEN_ERROR, Kind, Need
from wherefrom.signals import gradient_name as g


def alone(model, row):
    """Logits, states and labels of one row, without padding."""
    ids = torch.tensor(row.ids)[None]
    out = model(
        input_ids=ids,
        attention_mask=torch.tensor(row.attention.astype(np.int64))[None],
        position_ids=torch.arange(len(row.ids))[None],
        output_hidden_states=True,
    )
    counted = torch.tensor(row.loss_mask[1:])
    return out, out.logits[0, :-1][counted], ids[0, 1:][counted], counted


def gradients(model, loss):
    named = {clean_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return dict(zip(named, found, strict=True))


def weights_of(target, logits, labels, states):
    p = torch.softmax(logits, -1).detach()
    chosen = p.gather(1, labels[:, None])[:, 0]
    if target == "margin":
        return 1 / (1 - chosen)
    if target == "first2":
        return torch.tensor([0.5 if i < 2 else 0.0 for i in range(len(labels))])
    error = p.clone()
    error[torch.arange(len(labels)), labels] -= 1
    norms = error.norm(dim=1) * states.norm(dim=1)
    return 1 / norms / (1 / norms).sum()


@pytest.mark.parametrize("target", ["margin", "first2", "balanced"])
@pytest.mark.parametrize("kind", KINDS)
def test_token_weights_are_those_of_their_definition(kind, target):
    tokenizer = tiny_tokenizer()
    model = tuned(kind, "lora", tokenizer)
    rows = rows_of(tokenizer, n=4)
    run = Pass(model, frozenset({Need(Kind.GRADIENT, target), Need(Kind.GRADIENT)}))
    emitted = run.run(rows)
    assert len(run.blocks) > 4
    for i, row in enumerate(rows):
        out, logits, labels, counted = alone(model, row)
        states = out.hidden_states[-1][0, :-1][counted].detach()
        losses = F.cross_entropy(logits, labels, reduction="none")
        want = gradients(model, (weights_of(target, logits, labels, states) * losses).sum())
        plain = gradients(model, F.cross_entropy(*alone(model, row)[1:3]))
        for block in run.blocks:
            for name, expected in ((g(block.name, target), want), (g(block.name), plain)):
                exact = expected[block.name].numpy()
                error = np.linalg.norm(emitted[name][i] - exact)
                assert error <= 2e-5 * np.linalg.norm(exact) + 1e-12


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_hidden_states_are_autograds(kind, mode):
    tokenizer = tiny_tokenizer()
    model = tuned(kind, mode, tokenizer)
    rows = rows_of(tokenizer, n=4)
    needs = frozenset({Need(Kind.STATE_GRADIENT), Need(Kind.HIDDEN)})
    for side in ("right", "left"):
        emitted = Pass(model, needs, padding_side=side).run(rows)[STATE_GRADIENT]
        for i, row in enumerate(rows):
            out, logits, labels, _ = alone(model, row)
            loss = F.cross_entropy(logits, labels)
            want = torch.autograd.grad(loss, out.hidden_states[1:])
            for layer, expected in enumerate(want, 1):
                exact = expected[0, row.prompt_end].numpy()
                assert np.linalg.norm(emitted[i, layer] - exact) <= 1e-4 * np.linalg.norm(exact)
                assert np.linalg.norm(exact) > 0


def test_gradients_of_hidden_states_reach_below_the_lowest_traced_layer():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    rows = rows_of(tokenizer, n=2)
    needs = frozenset({Need(Kind.STATE_GRADIENT)})
    whole = Pass(model, needs).run(rows)[STATE_GRADIENT]
    upper = Pass(model, needs, blocks=r"layers\.1\.").run(rows)[STATE_GRADIENT]
    np.testing.assert_allclose(upper, whole, rtol=1e-5, atol=1e-9)
    assert whole[:, 0].any()


@pytest.mark.parametrize("kind", KINDS)
def test_token_errors_are_the_output_layers_gradient(kind):
    tokenizer = tiny_tokenizer()
    model = tuned(kind, "lora", tokenizer)
    rows = rows_of(tokenizer, n=4)
    run = Pass(model, frozenset({Need(Kind.ERROR)}), error_dimension=10_000)
    emitted = run.run(rows)[TOKEN_ERROR]
    head = model.get_output_embeddings()
    for i, row in enumerate(rows):
        # an output layer of its own, so that tied input embeddings add nothing
        own = head.weight.detach().clone().requires_grad_(True)
        out, _, labels, counted = alone(model, row)
        states = out.hidden_states[-1][0, :-1][counted].detach()
        loss = F.cross_entropy(states @ own.T, labels)
        (want,) = torch.autograd.grad(loss, own)
        error = np.linalg.norm(emitted[i] - want.numpy())
        assert error <= 1e-5 * np.linalg.norm(want.numpy())


def test_projected_token_errors_keep_inner_products():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    rows = rows_of(tokenizer, n=6)

    def products(dimension):
        run = Pass(model, frozenset({Need(Kind.ERROR)}), error_dimension=dimension)
        flat = run.run(rows)[TOKEN_ERROR].reshape(6, -1)
        return flat @ flat.T

    exact = products(10_000)
    scale = np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    errors = {k: np.abs(products(k) - exact).max() / (scale.max()) for k in (16, 256)}
    # Johnson–Lindenstrauss: the error of a product of unit vectors is a few times 1/√k
    assert errors[16] <= 5 / np.sqrt(16)
    assert errors[256] <= 5 / np.sqrt(256)
    assert errors[256] < errors[16]


def drawn(run, rows, monkeypatch, seed):
    def uniform(row, count):
        return np.random.default_rng([seed, len(row.ids), int(row.ids.sum())]).random(count)

    monkeypatch.setattr(_token_weights, "_uniform", uniform)
    return run.run(rows)


def test_drawn_labels_give_the_gauss_newton_matrix(monkeypatch):
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    rows = rows_of(tokenizer, n=2)
    run = Pass(model, frozenset({Need(Kind.GRADIENT, "sampled")}), blocks=r"1.*q_proj.*lora_A")
    (block,) = run.blocks
    parameter = next(p for n, p in model.named_parameters() if clean_name(n) == block.name)
    exact = np.zeros((block.size, block.size))
    for row in rows:
        _, logits, _, _ = alone(model, row)
        p = torch.softmax(logits, -1).detach().numpy()
        for t in range(len(logits)):
            cotangents = torch.eye(logits.shape[1], dtype=logits.dtype)
            jacobian = torch.stack(
                [
                    torch.autograd.grad(logits[t], parameter, c, retain_graph=True)[0].flatten()
                    for c in cotangents
                ]
            ).numpy()
            curve = np.diag(p[t]) - np.outer(p[t], p[t])
            exact += jacobian.T @ curve @ jacobian / len(logits) / len(rows)
    draws = 150
    estimate = np.zeros_like(exact)
    for seed in range(draws):
        emitted = drawn(run, rows, monkeypatch, seed)[g(block.name, "sampled")]
        flat = emitted.reshape(len(rows), -1)
        estimate += flat.T @ flat / len(rows) / draws
    assert np.trace(estimate) == pytest.approx(np.trace(exact), rel=0.1)
    cosine = (estimate * exact).sum() / np.linalg.norm(estimate) / np.linalg.norm(exact)
    assert cosine > 0.95


def test_drawn_labels_depend_on_the_row_alone():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    rows = rows_of(tokenizer, n=5)
    run = Pass(model, frozenset({Need(Kind.GRADIENT, "sampled")}))
    together, apart = run.run(rows), [run.run([row]) for row in rows]
    for block in run.blocks:
        name = g(block.name, "sampled")
        for i in range(len(rows)):
            want = apart[i][name][0]
            assert np.linalg.norm(together[name][i] - want) <= 1e-5 * np.linalg.norm(want)


@pytest.mark.parametrize(("kind", "mode"), [("llama", "lora"), ("gpt2", "full"), ("neox", "full")])
def test_kronecker_factors_are_means_over_real_tokens(kind, mode, monkeypatch):
    tokenizer = tiny_tokenizer()
    model = tuned(kind, mode, tokenizer)
    rows = rows_of(tokenizer, n=3)
    run = Pass(model, frozenset({Need(Kind.FACTORS), Need(Kind.GRADIENT, "sampled")}))
    run.run(rows[:2])
    run.run(rows[2:])
    sums = run.take_factors()
    assert sums.rows == 3
    whole = {n: t for n, t in sums.tokens.items() if "head" not in n and "embed_out" not in n}
    assert set(whole.values()) == {sum(len(row.ids) for row in rows)}
    assert run.take_factors().rows == 0
    wanted = {t.weight.name: [0.0, 0.0] for t in run.targets if t.weight is not None}
    biases = {t.bias.name: 0.0 for t in run.targets if t.bias is not None}
    for row in rows:
        seen = {}

        def keep(module, inputs, output, seen=seen):
            output.retain_grad()
            seen[module] = (inputs[0], output)

        handles = [t.module.register_forward_hook(keep) for t in run.targets]
        _, logits, _, _ = alone(model, row)
        for handle in handles:
            handle.remove()
        p = torch.softmax(logits, -1).detach().cumsum(-1)
        draws = torch.tensor(_token_weights._uniform(row, len(p)))
        labels = torch.searchsorted(p, (draws * p[:, -1])[:, None]).squeeze(1)
        model.zero_grad()
        (F.cross_entropy(logits, labels, reduction="sum") / len(labels) ** 0.5).backward()
        for target in run.targets:
            a, y = seen[target.module]
            a, d = a.detach()[0].numpy(), y.grad[0].numpy()
            if target.weight is not None:
                pair = (a.T @ a, d.T @ d) if target.transposed else (d.T @ d, a.T @ a)
                for i in (0, 1):
                    wanted[target.weight.name][i] += pair[i]
            if target.bias is not None:
                biases[target.bias.name] += d.T @ d
    model.zero_grad()
    for name in whole.keys() & wanted.keys():
        found, (left, right) = sums.factors(name), wanted[name]
        np.testing.assert_allclose(found.left, left / whole[name], rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(found.right, right / whole[name], rtol=1e-4, atol=1e-9)
    for name, left in biases.items():
        found = sums.factors(name)
        np.testing.assert_allclose(found.left, left / whole[name], rtol=1e-4, atol=1e-9)
        assert found.right.tolist() == [[1.0]]


def test_an_unknown_target_is_refused():
    model = tuned("llama", "lora", tiny_tokenizer())
    with pytest.raises(SettingError, match="no target is called 'first'"):
        Pass(model, frozenset({Need(Kind.GRADIENT, "first")}))
