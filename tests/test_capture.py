"""The pass against per-row autograd in float64, on four architectures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers.pytorch_utils import Conv1D

from tiny import tiny_model, tiny_rows, tiny_tokenizer
from wherefrom.capture import Capture, Pass, find_targets
from wherefrom.data import Renderer, get_recipe, plan_batches
from wherefrom.errors import ModelError, NonFiniteError, SettingError
from wherefrom.models import clean_name
from wherefrom.signals import LOSS, POOLS, TOKEN_LOSS, TOKENS, Kind, MemorySignals, Need
from wherefrom.signals import gradient_name as g
from wherefrom.signals import hidden_name as h

KINDS = ("llama", "gpt2", "neox", "gemma")
BOTH = frozenset({Need(Kind.GRADIENT), Need(Kind.HIDDEN)})


def tuned(kind, mode, tokenizer):
    model = tiny_model(kind, len(tokenizer), dtype=torch.float64)
    if mode == "full":
        for parameter in model.parameters():
            parameter.requires_grad_(True)
        return model
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=4, target_modules="all-linear"))
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator).double() * 0.3
    return model.eval()


def rows_of(tokenizer, recipe="sound-1", n=6, **changes):
    return Renderer(tokenizer, get_recipe(recipe, **changes)).render_all(tiny_rows(n))


def oracle(model, row, reduction):
    """One row alone, no batch, no padding of ours: autograd on every trainable parameter."""
    ids = torch.tensor(row.ids)[None]
    mask = torch.tensor(row.attention.astype(np.int64))[None]
    positions = torch.arange(len(row.ids))[None]
    out = model(
        input_ids=ids, attention_mask=mask, position_ids=positions, output_hidden_states=True
    )
    losses = F.cross_entropy(out.logits[0, :-1], ids[0, 1:], reduction="none")
    counted = torch.tensor(row.loss_mask[1:])
    chosen = losses[counted]
    loss = chosen.mean() if reduction == "mean" else chosen.sum()
    named = {clean_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    found = dict(zip(named, gradients, strict=True))
    return chosen.detach().numpy(), found, [s[0].detach().numpy() for s in out.hidden_states]


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_states_and_losses_are_those_of_every_row_alone(kind, mode):
    tokenizer = tiny_tokenizer()
    model = tuned(kind, mode, tokenizer)
    rows = rows_of(tokenizer)
    expected = [oracle(model, row, "mean") for row in rows]
    for side, cuts in (("right", [6]), ("left", [6]), ("right", [1, 2, 3])):
        runs = Pass(model, BOTH, pad_id=0, padding_side=side)
        start = 0
        for size in cuts:
            emitted = runs.run(rows[start : start + size])
            for i, (row, (losses, gradients, states)) in enumerate(
                zip(rows[start : start + size], expected[start : start + size], strict=True)
            ):
                assert emitted[TOKENS][i] == row.loss_mask.sum()
                assert emitted[LOSS][i] == pytest.approx(losses.sum(), rel=1e-6)
                np.testing.assert_allclose(emitted[TOKEN_LOSS][i, : len(losses)], losses, rtol=1e-5)
                for block in runs.blocks:
                    want = gradients[block.name].numpy()
                    got = emitted[g(block.name)][i]
                    assert got.shape == block.shape
                    assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want) + 1e-12
                at = np.arange(len(row.ids))
                for pool, mask in {
                    "last_prompt": at == row.prompt_end,
                    "mean_prompt": row.attention & (at <= row.prompt_end),
                    "mean_response": row.response_mask,
                    "mean_all": row.attention,
                }.items():
                    want = np.stack([state[mask].mean(0) for state in states])
                    np.testing.assert_allclose(emitted[h(pool)][i], want, rtol=1e-4, atol=1e-6)
            start += size
    assert len(runs.blocks) >= 4


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_the_papers_rows_count_their_own_pads_and_prompts(kind, side):
    tokenizer = tiny_tokenizer()
    model = tuned(kind, "lora", tokenizer)
    rows = rows_of(tokenizer, "paper-1", n=3, max_length=48)
    assert all(len(row.ids) == 48 for row in rows)
    assert all(row.loss_mask.sum() == 47 for row in rows)
    runs = Pass(model, BOTH, pad_id=0, padding_side=side)
    emitted = runs.run(rows)
    for i, row in enumerate(rows):
        losses, gradients, _ = oracle(model, row, "mean")
        assert emitted[LOSS][i] == pytest.approx(losses.sum(), rel=1e-6)
        for block in runs.blocks:
            want = gradients[block.name].numpy()
            got = emitted[g(block.name)][i]
            assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want) + 1e-12


def test_sum_reduction_is_the_mean_times_the_tokens():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    rows = rows_of(tokenizer)
    mean = Pass(model, BOTH, reduction="mean").run(rows)
    total = Pass(model, BOTH, reduction="sum").run(rows)
    name = next(n for n in mean if n.startswith("gradient/"))
    tokens = mean[TOKENS].reshape(-1, 1, 1)
    # transformers computes norms and softmax in float32 whatever the weights are
    np.testing.assert_allclose(total[name], mean[name] * tokens, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_traced_is_named():
    tokenizer = tiny_tokenizer()
    _, lora = find_targets(tuned("llama", "lora", tokenizer))
    assert lora.share == 1.0
    assert lora.missing == ()
    _, full = find_targets(tuned("gemma", "full", tokenizer))
    assert 0 < full.share < 1
    assert any("embed_tokens" in name for name in full.missing)
    assert "not traced" in full.describe()
    model = tiny_model("llama", len(tokenizer))
    dora = get_peft_model(model, LoraConfig(r=2, use_dora=True, target_modules=["q_proj"]))
    _, coverage = find_targets(dora)
    assert any("magnitude" in name for name in coverage.missing)


def test_tied_output_embeddings_are_not_traced_by_halves():
    tokenizer = tiny_tokenizer()
    targets, _ = find_targets(tuned("gemma", "full", tokenizer))
    assert not any(t.weight is not None and "lm_head" in t.weight.name for t in targets)


def test_modules_to_save_are_traced():
    tokenizer = tiny_tokenizer()
    model = tiny_model("llama", len(tokenizer))
    config = LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["up_proj"])
    targets, coverage = find_targets(get_peft_model(model, config))
    assert coverage.share == 1.0
    assert sum("up_proj" in t.weight.name for t in targets if t.weight) == 2


def test_gpt2_layers_keep_the_shape_of_their_weights():
    tokenizer = tiny_tokenizer()
    model = tuned("gpt2", "full", tokenizer)
    targets, _ = find_targets(model, blocks="c_attn")
    assert all(isinstance(t.module, Conv1D) for t in targets)
    assert {t.weight.shape for t in targets} == {(32, 96)}
    assert {t.bias.shape for t in targets} == {(96,)}


def test_blocks_are_chosen_by_expression_and_mistakes_are_told():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    chosen = Pass(model, BOTH, blocks=r"layers\.1\.").blocks
    assert chosen
    assert all("layers.1." in block.name for block in chosen)
    with pytest.raises(SettingError, match="matches no trainable"):
        Pass(model, BOTH, blocks="nothing")
    with pytest.raises(SettingError, match="no regular expression"):
        Pass(model, BOTH, blocks="(")
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ModelError, match="no trainable linear layer"):
        Pass(model, BOTH)


def test_verification_catches_a_weight_used_outside_its_layer():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "full", tokenizer)
    rows = rows_of(tokenizer, n=2)
    assert Pass(model, BOTH).verify(rows) < 1e-9
    layer = model.model.layers[0].self_attn.q_proj
    plain = type(layer).forward
    layer.forward = lambda x: plain(layer, x) + x @ layer.weight.T * 0.5
    with pytest.raises(ModelError, match=r"layers\.0\.self_attn\.q_proj\.weight differs"):
        # the second use adds to the layer's output, so its hook sees the sum's gradient once
        Pass(model, BOTH).verify(rows)


def test_the_pass_leaves_the_model_as_it_was():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    flags = [p.requires_grad for p in model.parameters()]
    runs = Pass(model, BOTH)
    runs.run(rows_of(tokenizer, n=2))
    hooks = [len(module._forward_hooks) for module in model.modules()]
    runs.verify(rows_of(tokenizer, n=2))
    runs.run(rows_of(tokenizer, n=2))
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    # transformers leaves hooks of its own after the first run; ours are gone after each
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert not any(target.module._forward_hooks for target in runs.targets)


def test_nan_is_named_by_row():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    rows = rows_of(tokenizer, n=3)
    only_here = (set(rows[1].ids) - set(rows[0].ids) - set(rows[2].ids)).pop()
    model.get_input_embeddings().weight.data[only_here] = float("nan")
    with pytest.raises(NonFiniteError, match=rows[1].id):
        Pass(model, BOTH).run(rows)


def test_running_out_of_memory_halves_the_batch(monkeypatch):
    tokenizer = tiny_tokenizer()
    runs = Pass(tuned("llama", "lora", tokenizer), BOTH)
    rows = rows_of(tokenizer, n=5)
    want, whole, sizes = runs.run(rows), runs._run, []

    def short_of_memory(part):
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError
        return whole(part)

    monkeypatch.setattr(runs, "_run", short_of_memory)
    got = runs.run(rows)
    assert sizes == [5, 2, 3, 1, 2]
    for name, values in want.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-6, atol=1e-9)


def test_capture_gives_rows_back_in_the_order_of_the_data_set():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    rows = rows_of(tokenizer, n=9)
    runs = Pass(model, BOTH)
    plan = plan_batches(rows, batch_tokens=64, chunk_rows=4)
    sizes = [sum(len(batch) for batch in chunk) for chunk in plan.chunks]
    ids = tuple(row.id for row in rows)
    arrays = [array for found in runs.arrays(rows).values() for array in found]
    sink = MemorySignals(ids, runs.blocks, arrays, plan.order, sizes, {})
    Capture(runs, rows, plan, [(frozenset(a.name for a in arrays), sink)]).run(None)
    assert sink.missing() == ()
    assert set(sink.names()) >= {LOSS, TOKENS, *(h(pool) for pool in POOLS)}
    for i, row in enumerate(rows):
        alone = runs.run([row])
        assert sink.read(LOSS)[i] == pytest.approx(alone[LOSS][0], rel=1e-5)
        for block in runs.blocks:
            want = alone[g(block.name)][0]
            got = sink.read(g(block.name))[i]
            assert np.linalg.norm(got - want) <= 1e-5 * np.linalg.norm(want) + 1e-12


def test_bfloat16_gradients_point_the_same_way():
    tokenizer = tiny_tokenizer()
    rows = rows_of(tokenizer)
    exact = Pass(tiny_model("llama", len(tokenizer)), BOTH, blocks="q_proj")
    rough = Pass(tiny_model("llama", len(tokenizer), dtype=torch.bfloat16), BOTH, blocks="q_proj")
    assert exact.exact
    assert not rough.exact
    a, b = exact.run(rows), rough.run(rows)
    for block in exact.blocks:
        u, v = a[g(block.name)].reshape(6, -1), b[g(block.name)].reshape(6, -1)
        assert v.dtype == np.float32
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        assert (cosine > 0.98).all()


def test_a_layer_that_does_not_run_has_a_gradient_of_zero():
    tokenizer = tiny_tokenizer()
    model = tuned("llama", "lora", tokenizer)
    model.base_model.model.model.layers[1].mlp.forward = torch.zeros_like
    runs = Pass(model, BOTH)
    rows = rows_of(tokenizer, n=3)
    assert runs.verify(rows) < 1e-6
    emitted = runs.run(rows)
    skipped = [b.name for b in runs.blocks if "layers.1.mlp" in b.name]
    assert len(skipped) == 6
    assert not any(emitted[g(name)].any() for name in skipped)
