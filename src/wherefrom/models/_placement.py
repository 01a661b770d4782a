"""Placement: a model on one device or spread over several, and where its inputs go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from wherefrom.errors import ModelError, SettingError

DeviceMap = str | Mapping[str, int | str]
"""`auto` and its kin, or a device for each part of the model by name."""

_STRATEGIES = ("auto", "balanced", "balanced_low_0", "sequential")


def check_placement(device: str | None, device_map: DeviceMap | None) -> None:
    """Refuses a device map that nothing can follow.

    Raises:
        SettingError: a device and a map were both given, or the map's name means nothing.
    """
    if device_map is None:
        return
    if device is not None:
        raise SettingError(f"give either a device ({device!r}) or a device map, not both.")
    if isinstance(device_map, str) and device_map not in _STRATEGIES:
        raise SettingError(f"no device map is called {device_map!r}: {', '.join(_STRATEGIES)}.")


def input_device(model: nn.Module) -> torch.device:
    """Where a model's input ids go: the device of its input embeddings."""
    embeddings: Any = getattr(model, "get_input_embeddings", lambda: None)()
    weight: Any = next((embeddings or model).parameters())
    return torch.device(weight.device)


def is_spread(model: nn.Module) -> bool:
    """Whether a model's parts lie on several devices."""
    devices: Mapping[str, Any] = getattr(model, "hf_device_map", None) or {}
    return len(set(devices.values())) > 1


def settle(model: Any) -> None:
    """Makes a model that accelerate spread over devices fit to be read at its hooks.

    Raises:
        ModelError: some weights were left in memory that no device computes in.
    """
    away = [name for name, p in model.named_parameters() if p.device.type == "meta"]
    if away:
        raise ModelError(
            f"the model does not fit the devices' memory: {len(away)} of its weights ({away[0]} …) would "
            "wait on the CPU or disk, and gradients cannot be read through such weights. Set precision to "
            "bfloat16, quantize the base to 4bit or 8bit, or use more devices."
        )
    hook = getattr(model, "_hf_hook", None)
    for one in getattr(hook, "hooks", [hook] if hook is not None else []):
        # outputs sent back to the inputs' device are copies, and no gradient reaches a copied hidden state
        one.io_same_device = False
        # an index must stay on the CPU: which device it meets is not known before
        one.skip_keys = [*_as_list(one.skip_keys), "logits_to_keep"]


def _as_list(keys: Any) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys or ())
