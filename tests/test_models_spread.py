"""Models spread over several devices: the same signals, outcomes and answers as on one."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

from devices import FIRST, SECOND, Placed, Pretence, spread
from tiny import save_tiny, tiny_model, tiny_rows, tiny_tokenizer
from wherefrom.capture import Pass
from wherefrom.data import Renderer, get_recipe
from wherefrom.errors import ModelError, SettingError
from wherefrom.models import (
    LoadedModel,
    at_weights,
    counted_losses,
    input_device,
    is_spread,
    load_model,
    pad_rows,
    trained_state,
)
from wherefrom.models._placement import settle
from wherefrom.signals import SAMPLED, Kind, Need

HALVES = {
    "model.embed_tokens": FIRST,
    "model.rotary_emb": FIRST,
    "model.layers.0": FIRST,
    "model.layers.1": SECOND,
    "model.norm": SECOND,
    "lm_head": SECOND,
}
# where embeddings and output layer share their weight, the last state travels back
TIED = HALVES | {"lm_head": FIRST}
NEEDS = {
    Need(kind) for kind in (Kind.LOSS, Kind.HIDDEN, Kind.ERROR, Kind.GRADIENT, Kind.STATE_GRADIENT)
}
NEEDS |= {Need(Kind.GRADIENT, target) for target in ("margin", "balanced", "first5", SAMPLED)}
NEEDS |= {Need(Kind.FACTORS, SAMPLED)}


def rows_of(count):
    return Renderer(tiny_tokenizer(), get_recipe("sound-1")).render_all(tiny_rows(count))


def adapted(model):
    torch.manual_seed(1)
    config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def two(parts=None):
    model = spread(tiny_model("llama", len(tiny_tokenizer())), parts or HALVES)
    settle(model)
    return adapted(model)


def one():
    return adapted(tiny_model("llama", len(tiny_tokenizer())))


def test_pretended_devices_refuse_to_mix():
    with Pretence():
        a, b = torch.ones(3, device=FIRST), torch.ones(3).to(SECOND)
        assert isinstance(a, Placed)
        assert (a.device, b.device) == (FIRST, SECOND)
        with pytest.raises(RuntimeError, match="one device"):
            a + b
        assert torch.equal((a + b.to(FIRST)).cpu(), torch.full((3,), 2.0))


def test_an_adapter_follows_the_layers_it_belongs_to():
    with Pretence():
        model = two()
        assert is_spread(model)
        assert input_device(model) == FIRST
        places = {n: p.device for n, p in model.named_parameters() if p.requires_grad}
    assert {p for n, p in places.items() if ".0." in n} == {FIRST}
    assert {p for n, p in places.items() if ".1." in n} == {SECOND}


@pytest.mark.parametrize("parts", [HALVES, TIED], ids=["halves", "tied"])
def test_every_signal_is_that_of_one_device(parts):
    rows = rows_of(5)
    alone = Pass(one(), frozenset(NEEDS))
    expected, sums = alone.run(rows), alone.take_factors()
    with Pretence():
        passes = Pass(two(parts), frozenset(NEEDS))
        assert passes.verify(rows[:2]) < 1e-5
        found, spread_sums = passes.run(rows), passes.take_factors()
    assert found.keys() == expected.keys()
    assert any(name.startswith("state") and values.any() for name, values in found.items())
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
    factors = sums.arrays()
    assert len(factors) > 1
    for name, values in spread_sums.arrays().items():
        np.testing.assert_allclose(values, factors[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_losses_and_trained_weights_are_those_of_one_device(tmp_path):
    rows = rows_of(4)
    alone = one()
    shifted = {n: t + 0.1 for n, t in trained_state(alone).items()}
    save_file(shifted, tmp_path / "weights.safetensors")

    def losses(model):
        loaded = LoadedModel(model, tiny_tokenizer(), {})
        with at_weights(loaded, tmp_path), torch.no_grad():
            found = counted_losses(model, **pad_rows(rows, 0, input_device(model)))
        # labels must be where the logits are, for whoever compares the two
        assert found.labels.device == found.logits.device
        return found.losses.cpu()

    expected = losses(alone)
    before = trained_state(alone)
    with Pretence():
        model = two()
        found = losses(model)
        after = trained_state(model)
    torch.testing.assert_close(found, expected)
    assert all(type(t) is torch.Tensor for t in after.values())
    assert {n: t.shape for n, t in after.items()} == {n: t.shape for n, t in before.items()}
    assert all(torch.equal(after[n], t) for n, t in before.items())


def test_weights_that_no_device_holds_are_refused():
    model = tiny_model("llama", len(tiny_tokenizer()))
    model.model.layers[1].to("meta")
    with pytest.raises(ModelError, match=r"does not fit.*model\.layers\.1.*quantize"):
        settle(model)


def test_a_device_map_on_one_device_changes_nothing(tmp_path):
    base = save_tiny(tmp_path / "base")
    rows = rows_of(3)
    maps = (None, "auto", {"": "cpu"}, dict.fromkeys(HALVES, "cpu"))
    signals = []
    for device_map in maps:
        device = "cpu" if device_map is None else None
        loaded = load_model(str(base), device=device, device_map=device_map)
        assert not is_spread(loaded.model)
        assert "quantize" not in loaded.identity
        signals.append(
            (loaded.identity, Pass(loaded.model, frozenset({Need(Kind.LOSS)})).run(rows))
        )
    for identity, found in signals[1:]:
        assert identity == signals[0][0]
        np.testing.assert_array_equal(found["loss"], signals[0][1]["loss"])


def test_placements_that_mean_nothing_are_refused(tmp_path):
    base = str(save_tiny(tmp_path / "base"))
    with pytest.raises(SettingError, match="not both"):
        load_model(base, device="cpu", device_map="auto")
    with pytest.raises(SettingError, match="balanced_low_0"):
        load_model(base, device_map="everywhere")
    (tmp_path / "some.gguf").touch()
    with pytest.raises(SettingError, match="GGUF"):
        load_model(str(tmp_path / "some.gguf"), device_map="auto")
