"""Quantised bases: weights in 4 or 8 bits by bitsandbytes, computed with in full."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wherefrom.errors import ModelError, SettingError

Quantize = Literal["4bit", "8bit"]


def quantization_config(quantize: Quantize, dtype: torch.dtype, device: str | None) -> Any:
    """What transformers is told: NF4 with double quantisation (2305.14314), or 8 bits a row (2208.07339).

    Args:
        quantize: `4bit` or `8bit`.
        dtype: what is computed in.
        device: where the model goes; None where a device map decides.

    Raises:
        SettingError: there is no such mode, or bitsandbytes does not know the device.
        ModelError: bitsandbytes is missing or broken.
    """
    if quantize not in ("4bit", "8bit"):
        raise SettingError(f"quantize must be 4bit or 8bit, not {quantize!r}.")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ModelError(
            f"a {quantize} base needs bitsandbytes, which is not installed: "
            'pip install "wherefrom[quantized]", or leave quantize out.'
        )
    try:
        bitsandbytes: Any = importlib.import_module("bitsandbytes")
    except Exception as error:
        raise ModelError(
            f"bitsandbytes is installed but does not start here ({type(error).__name__}: {error}). "
            "Mend it, or leave quantize out."
        ) from None
    known = set(getattr(bitsandbytes, "supported_torch_devices", ()))
    kind = torch.device(device).type if device is not None else None
    if kind is not None and known and kind not in known:
        raise SettingError(
            f"bitsandbytes cannot run on {kind}: it knows {', '.join(sorted(known))}. Choose another "
            "device, or leave quantize out."
        )
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def is_quantized(model: nn.Module) -> bool:
    """Whether the base keeps its weights in fewer bits than it computes with."""
    return bool(getattr(model, "is_quantized", False))


def settle_quantized(model: nn.Module) -> None:
    """Makes quantised layers give each row its own result, whatever runs beside it.

    bitsandbytes' 8-bit layers treat columns in which any row of the batch is large apart, so a row's loss
    would depend on its batch; here weights alone are in 8 bits. Its 4-bit layers repack themselves for
    inference on some CPUs, and no gradient passes through a repacked layer; here they never are.
    """
    for module in model.modules():
        if _kind(module) == "Int8Params":
            module.forward = partial(_eight_bit_linear, module)
        elif _kind(module) == "Params4bit":
            layer: Any = module
            layer.support_avx512bf16_for_cpu = False


def quantized_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Codes, scales and all else that a quantised model computes with, by name."""
    yield from sorted(model.state_dict().items())


def dequantized(module: Any) -> Tensor | None:
    """A quantised layer's weight as it acts, float, output × input; None for other modules."""
    if _kind(module) == "Int8Params":
        return _floats(*_codes(module), torch.float32)
    if _kind(module) != "Params4bit":
        return None
    functional: Any = importlib.import_module("bitsandbytes.functional")
    weight: Tensor = functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
    return weight


def _kind(module: nn.Module) -> str:
    # of the weight itself: PEFT gives its wrappers the names of bitsandbytes' layers
    return type(module._parameters.get("weight")).__name__


def _eight_bit_linear(module: Any, inputs: Tensor) -> Tensor:
    codes, scales = _codes(module)
    output: Tensor = _EightBit.apply(inputs, codes, scales)  # type: ignore[no-untyped-call]
    return output if module.bias is None else output + module.bias.to(output.dtype)


class _EightBit(torch.autograd.Function):
    """x Wᵀ; W is made from its codes again in the backward, so that no layer keeps its floats."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
        ctx.save_for_backward(codes, scales)
        return F.linear(inputs, _floats(codes, scales, inputs.dtype))

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None, None]:
        codes, scales = ctx.saved_tensors
        return delta @ _floats(codes, scales, delta.dtype), None, None


def _codes(module: Any) -> tuple[Tensor, Tensor]:
    # scales move from the weight to the layer's state at bitsandbytes' own first forward
    scales = module.weight.SCB if module.state.SCB is None else module.state.SCB
    return module.weight.data, scales


def _floats(codes: Tensor, scales: Tensor, dtype: torch.dtype) -> Tensor:
    return codes.to(dtype).mul_(scales[:, None] / 127)
