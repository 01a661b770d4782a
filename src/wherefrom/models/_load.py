"""Loading: a hub id, a folder, a GGUF file or an embedded model, with or without an adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from wherefrom.errors import ModelError, NonFiniteError, SettingError
from wherefrom.identity import digest_arrays
from wherefrom.models._builtin import builtin_model
from wherefrom.models._gguf import load_gguf, load_gguf_tokenizer
from wherefrom.models._placement import DeviceMap, check_placement, settle
from wherefrom.models._quantize import (
    Quantize,
    dequantized,
    is_quantized,
    quantization_config,
    quantized_tensors,
    settle_quantized,
)

Precision = Literal["float32", "bfloat16"]


@dataclass
class LoadedModel:
    """A model ready to run, and what it is.

    Attributes:
        model: parameters to be traced have `requires_grad`: the adapter's where there is one.
        tokenizer: its tokenizer.
        identity: digests of base weights and adapter, the precision, and how the base was quantised
            where it was.
    """

    model: Any
    tokenizer: Any
    identity: dict[str, Any]

    @property
    def pad_id(self) -> int:
        """A token id for pads; they are never attended to or counted."""
        for candidate in (self.tokenizer.pad_token_id, self.tokenizer.eos_token_id):
            if candidate is not None:
                return int(candidate)
        return 0


def load_model(
    spec: str,
    adapter: str | Path | None = None,
    precision: Precision = "float32",
    device: str | None = None,
    *,
    device_map: DeviceMap | None = None,
    quantize: Quantize | None = None,
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Loads a causal language model and its tokenizer.

    A quantised base is frozen: without an adapter nothing of it can be traced. Its activations stay in
    `precision`, so that a row's signals do not depend on the rows beside it.

    Args:
        spec: `builtin:smollm2-135m`, a folder, a `.gguf` file or a hub id.
        adapter: a PEFT adapter's folder (or hub id), put on top and made traceable.
        precision: of the weights; adapters stay in float32.
        device: `cuda`, `cpu` …; the accelerator where there is one when None.
        device_map: `auto` spreads the base over the devices there are, for one that is too big for any of
            them; the adapter's layers go where the layers are that they belong to.
        quantize: `4bit` or `8bit`: the base's weights in fewer bits, by bitsandbytes.
        trust_remote_code: run code that ships with the model; off unless the user says so.

    Raises:
        ModelError: nothing of that name can be loaded, the devices cannot hold it, or bitsandbytes is
            missing; the message names the alternatives.
        SettingError: settings that do not go together.
        NonFiniteError: a weight is NaN or Inf.
    """
    check_placement(device, device_map)
    target = device or ("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, model = _base(spec, precision, trust_remote_code, target, device_map, quantize)
    identity = {"model": fingerprint(model), "adapter": None, "precision": precision}
    if quantize is not None:
        identity["quantize"] = quantize
    if adapter is not None:
        model = _with_adapter(model, adapter, spec)
        state = ((n, p) for n, p in model.named_parameters() if p.requires_grad)
        identity["adapter"] = digest_arrays((n, _bytes(p)) for n, p in state)
    _require_finite(model)
    if device_map is None and quantize is None:
        model = model.to(target)
    return LoadedModel(model.eval(), tokenizer, identity)


def load_tokenizer(spec: str, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer alone, by the same specs as `load_model`.

    Raises:
        ModelError: nothing of that name can be loaded.
    """
    from transformers import AutoTokenizer

    source, gguf = _source(spec)
    if gguf:
        return load_gguf_tokenizer(Path(source))
    try:
        return AutoTokenizer.from_pretrained(source, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise ModelError(_unloadable(spec, error)) from None


def fingerprint(model: nn.Module) -> str:
    """Digest of all parameters: names, shapes, types and values; of the scales too where quantised."""
    if is_quantized(model):
        return digest_arrays((name, _bytes(t)) for name, t in quantized_tensors(model))
    return digest_arrays((name, _bytes(p)) for name, p in model.named_parameters())


def _base(
    spec: str,
    precision: Precision,
    trust: bool,
    device: str,
    device_map: DeviceMap | None,
    quantize: Quantize | None,
) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if precision not in ("float32", "bfloat16"):
        raise SettingError(f"precision must be float32 or bfloat16, not {precision!r}.")
    dtype = getattr(torch, precision)
    source, gguf = _source(spec)
    if gguf:
        if quantize is not None or device_map is not None:
            raise SettingError(
                f"{spec}: a GGUF file's weights are made plain, on one device. Leave quantize and "
                "device_map out, or give the model's safetensors."
            )
        model, tokenizer = load_gguf(Path(source), dtype)
        return tokenizer, model
    options: dict[str, Any] = {} if device_map is None else {"device_map": device_map}
    if quantize is not None:
        options["quantization_config"] = quantization_config(
            quantize, dtype, None if device_map is not None else device
        )
        options.setdefault("device_map", {"": device})
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=trust)
        if quantize is not None:
            _require_plain(source, trust)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, trust_remote_code=trust, use_safetensors=True, **options
        )
    except SettingError:
        raise
    except Exception as error:
        raise ModelError(_unloadable(spec, error)) from None
    settle(model)
    if is_quantized(model):
        settle_quantized(model)
        model.requires_grad_(False)
    return tokenizer, model


def _require_plain(source: str, trust: bool) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(source, trust_remote_code=trust)
    if getattr(config, "quantization_config", None) is not None:
        raise SettingError(f"model {source!r} is quantised already: leave quantize out.")


def _source(spec: str) -> tuple[str, bool]:
    if spec.startswith("builtin:"):
        return str(builtin_model(spec.removeprefix("builtin:"))), False
    if spec.lower().endswith(".gguf"):
        if not Path(spec).is_file():
            raise ModelError(f"{spec}: no such file.")
        return spec, True
    if spec.startswith(("/", "./", "../", "~")) and not Path(spec).expanduser().is_dir():
        raise ModelError(f"{spec}: no such folder.")
    return str(Path(spec).expanduser()) if spec.startswith("~") else spec, False


def _unloadable(spec: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    kind = (
        "a folder that cannot be loaded" if Path(spec).is_dir() else "no folder here, and the hub"
    )
    joiner = "" if Path(spec).is_dir() else " does not give it"
    return (
        f"model {spec!r}: {kind}{joiner} ({type(error).__name__}: {reason}). Give --model a folder with "
        "safetensors weights, a .gguf file, builtin:smollm2-135m, or a hub id while online."
    )


def _with_adapter(model: Any, adapter: str | Path, spec: str) -> Any:
    from peft import PeftModel

    folder = Path(adapter)
    if folder.exists() and not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{folder}: no adapter_config.json, so not a PEFT adapter.")
    if folder.exists() and not (folder / "adapter_model.safetensors").is_file():
        raise ModelError(
            f"{folder}: no adapter_model.safetensors. Pickled weights are not loaded; save the adapter "
            "again with safe_serialization=True."
        )
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    try:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=True)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0][:300]
        raise ModelError(
            f"adapter {adapter} cannot be put on model {spec!r} ({type(error).__name__}: {reason}). Was "
            "it trained on another model?"
        ) from None


def _require_finite(model: nn.Module) -> None:
    for place, module in model.named_modules():
        for name, parameter in module.named_parameters(prefix=place, recurse=False):
            values = dequantized(module) if name.endswith("weight") else None
            if not bool(torch.isfinite(parameter if values is None else values).all()):
                raise NonFiniteError(
                    f"weight {name} holds NaN or Inf: the model or adapter is damaged or its training "
                    "diverged. Nothing computed from it would mean anything."
                )


def _bytes(parameter: torch.Tensor) -> np.ndarray:
    tensor = parameter.detach().cpu().contiguous()
    return np.asarray(tensor.view(torch.uint8).numpy()) if tensor.dim() else tensor.numpy()
