"""Quantised bases: what is captured on them is what a plain model with the same weights gives.

Tests that quantise are skipped without bitsandbytes (`pip install "wherefrom[quantized]"`); a CPU will do.
"""

import importlib.util
import sys

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from tiny import save_tiny, tiny_model, tiny_rows, tiny_tokenizer
from wherefrom.capture import Pass
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import ModelError, NonFiniteError, SettingError
from wherefrom.models import FinetuneSettings, finetune, generate, is_quantized, load_model, prepare
from wherefrom.models._quantize import dequantized
from wherefrom.signals import Kind, Need

MODES = ["4bit", "8bit"]
NEEDS = frozenset(
    Need(kind) for kind in (Kind.LOSS, Kind.HIDDEN, Kind.ERROR, Kind.GRADIENT, Kind.STATE_GRADIENT)
)
with_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


@pytest.fixture
def base(tmp_path):
    return str(save_tiny(tmp_path / "base"))


@pytest.fixture
def adapter(tmp_path):
    torch.manual_seed(1)
    model = tiny_model("llama", len(tiny_tokenizer()))
    model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear"))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def rows_of(count):
    return Renderer(tiny_tokenizer(), get_recipe("sound-1")).render_all(tiny_rows(count))


@with_bitsandbytes
@pytest.mark.parametrize("quantize", MODES)
def test_signals_are_those_of_a_plain_model_with_the_same_weights(base, adapter, quantize):
    loaded = load_model(base, adapter, device="cpu", quantize=quantize)
    plain = load_model(base, adapter, device="cpu")
    quantized = dict(loaded.model.named_modules())
    rows = rows_of(5)
    rough = Pass(plain.model, NEEDS).run(rows)
    changed = 0
    with torch.no_grad():
        for name, module in plain.model.named_modules():
            values = dequantized(quantized[name]) if name in quantized else None
            if values is not None and isinstance(module, torch.nn.Linear):
                module.weight.copy_(values)
                changed += 1
    assert changed == 14
    passes = Pass(loaded.model, NEEDS)
    assert passes.coverage.share == 1
    assert passes.verify(rows[:2]) < 1e-5
    found, expected = passes.run(rows), Pass(plain.model, NEEDS).run(rows)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-6, err_msg=name)
    # the weights did change
    assert not np.allclose(found["loss"], rough["loss"], rtol=1e-4)


@with_bitsandbytes
@pytest.mark.parametrize("quantize", MODES)
def test_a_row_does_not_depend_on_the_rows_beside_it(base, adapter, quantize):
    loaded = load_model(base, adapter, device="cpu", quantize=quantize)
    rows, needs = rows_of(4), frozenset({Need(Kind.LOSS), Need(Kind.GRADIENT)})
    with torch.no_grad():
        # 8-bit layers of bitsandbytes itself treat states beyond 6 apart, for all rows of a batch
        for layer in loaded.model.get_base_model().model.layers:
            layer.input_layernorm.weight.mul_(8)
    # a pass without gradients before one with them: 4-bit layers must not repack themselves between
    Pass(loaded.model, frozenset({Need(Kind.LOSS)})).run(rows)
    right = Pass(loaded.model, needs, padding_side="right").run(rows)
    left = Pass(loaded.model, needs, padding_side="left")
    for index in range(len(rows)):
        single = left.run(rows[index : index + 1])
        for name, values in single.items():
            if name != "token_loss":
                scale = np.abs(right[name]).max()
                np.testing.assert_allclose(
                    values[0], right[name][index], rtol=1e-3, atol=1e-5 * scale, err_msg=name
                )


@with_bitsandbytes
def test_identity_says_how_the_base_was_quantised(base, adapter, tmp_path):
    plain = load_model(base, adapter, device="cpu")
    found = [load_model(base, adapter, device="cpu", quantize=q) for q in (*MODES, "4bit")]
    assert "quantize" not in plain.identity
    assert [one.identity["quantize"] for one in found] == ["4bit", "8bit", "4bit"]
    assert found[0].identity == found[2].identity
    digests = {one.identity["model"] for one in (plain, *found)}
    assert len(digests) == 3
    trained = {p.dtype for p in found[0].model.parameters() if p.requires_grad}
    assert trained == {torch.float32}
    # twice the weights have the same codes and other scales
    weights = load_file(tmp_path / "base/model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    weights[name] = weights[name] * 2
    save_file(weights, tmp_path / "base/model.safetensors", {"format": "pt"})
    for quantize, before in zip(MODES, found, strict=False):
        again = load_model(base, adapter, device="cpu", quantize=quantize)
        assert again.identity["model"] != before.identity["model"]


@with_bitsandbytes
@pytest.mark.parametrize("quantize", MODES)
def test_nan_under_quantisation_is_refused_by_name(base, tmp_path, quantize):
    weights = load_file(tmp_path / "base/model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, tmp_path / "base/model.safetensors", {"format": "pt"})
    with pytest.raises(NonFiniteError, match=r"layers\.1\.mlp\.up_proj"):
        load_model(base, device="cpu", quantize=quantize)


@with_bitsandbytes
@pytest.mark.parametrize("quantize", MODES)
def test_an_adapter_is_trained_on_a_quantised_base(base, tmp_path, quantize):
    settings = FinetuneSettings(epochs=2, batch_size=2, learning_rate=1e-2, dropout=0.0)
    rows = rows_of(4)
    about = finetune(base, rows, settings, tmp_path / "run", quantize=quantize)
    assert about["base"]["quantize"] == quantize
    assert about["loss last"] < about["loss first"]
    loaded = load_model(base, tmp_path / "run/adapter", device="cpu", quantize=quantize)
    assert is_quantized(loaded.model)
    prompts = [[5, 6, 7], [8, 9]]
    together = generate(loaded, prompts, 4)
    assert together == [generate(loaded, [prompt], 4)[0] for prompt in prompts]


@with_bitsandbytes
def test_without_an_adapter_nothing_of_it_can_be_traced(base):
    loaded = load_model(base, device="cpu", quantize="4bit")
    assert not any(p.requires_grad for p in loaded.model.parameters())
    with pytest.raises(ModelError, match="adapter"):
        Pass(loaded.model, frozenset({Need(Kind.GRADIENT)}))


@with_bitsandbytes
def test_what_is_quantised_already_is_not_quantised_again(base, tmp_path):
    loaded = load_model(base, device="cpu", quantize="4bit")
    loaded.model.save_pretrained(tmp_path / "small")
    loaded.tokenizer.save_pretrained(tmp_path / "small")
    with pytest.raises(SettingError, match="quantised already"):
        load_model(str(tmp_path / "small"), device="cpu", quantize="4bit")
    again = load_model(str(tmp_path / "small"), device="cpu")
    assert again.identity["model"] == loaded.identity["model"]


def test_bitsandbytes_missing_names_the_extra(base, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: None if name == "bitsandbytes" else find(name, *a),
    )
    with pytest.raises(ModelError, match=r'pip install "wherefrom\[quantized\]"'):
        load_model(base, quantize="4bit")


def test_bitsandbytes_that_cannot_run_here_is_told(base, monkeypatch, tmp_path):
    fake = tmp_path / "fake/bitsandbytes.py"
    fake.parent.mkdir()
    monkeypatch.syspath_prepend(str(fake.parent))
    for text, error, told in [
        ("raise OSError('libcudart.so: not found')", ModelError, "libcudart"),
        (
            "supported_torch_devices = {'cuda', 'xpu'}",
            SettingError,
            r"cannot run on cpu.*cuda, xpu",
        ),
    ]:
        fake.write_text(text)
        monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        with pytest.raises(error, match=told):
            load_model(base, device="cpu", quantize="8bit")
    monkeypatch.delitem(sys.modules, "bitsandbytes", raising=False)


def test_settings_that_do_not_go_together_are_refused(base, tmp_path):
    with pytest.raises(SettingError, match="4bit or 8bit"):
        load_model(base, device="cpu", quantize="2bit")
    with pytest.raises(SettingError, match="frozen"):
        prepare(base, FinetuneSettings(mode="full"), quantize="4bit")
    (tmp_path / "some.gguf").touch()
    with pytest.raises(SettingError, match="GGUF"):
        load_model(str(tmp_path / "some.gguf"), quantize="4bit")
