"""Trainees: the weights that are trained again, many LoRA adapters at once or one whole model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor, nn
from transformers import Trainer

from wherefrom.counterfactual._dropout import Lines, PlannedDropout, plan_dropout
from wherefrom.errors import ModelError
from wherefrom.models import put_state

State = Mapping[str, Tensor]


class Trainees(Protocol):
    """Weights in training; `count` sets of them behind one model.

    Attributes:
        model: runs any of them; `lines.owner` says which line is whose.
        lines: what the next forward pass holds.
    """

    model: Any
    lines: Lines

    def start(self, states: Sequence[State]) -> None:
        """Puts one set of weights in place for each state."""

    def state(self, index: int) -> dict[str, Tensor]:
        """Weights of one set, by the names that checkpoints use; on the CPU."""

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is trained."""

    def scales(self, state: State) -> list[Tensor]:
        """A number for each entry of `parameters`, in their order; the same for every set."""

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Parameters for an optimizer, each with its weight decay."""

    def clip(self, max_norm: float) -> None:
        """Scales each set's gradients to a global norm of at most `max_norm`."""


class Adapters:
    """LoRA adapters that share a frozen base model and are trained side by side.

    Every matrix of an adapter is kept as one parameter with a leading axis of adapters. AdamW and SGD
    work entry by entry, so one optimizer step moves each adapter as if it were alone.

    Args:
        model: a PEFT model with one plain LoRA adapter.

    Raises:
        ModelError: the adapter is of another kind.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.lines = Lines()
        self._layers: dict[str, _AdaptedLayer] = {}
        named = dict(model.named_modules())
        for name, module in named.items():
            if isinstance(module, LoraLinear):
                layer = _AdaptedLayer(module, self.lines)
                parent, _, child = name.rpartition(".")
                setattr(named[parent], child, layer)
                self._layers[name] = layer
        ours = {id(p) for p in self.parameters()}
        trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        others = [n for n, p in trained if id(p) not in ours]
        if not self._layers or others:
            raise ModelError(
                f"only plain LoRA adapters can be retrained; {others[0] if others else 'none'} is another "
                "kind of trained weight."
            )
        plan_dropout(model, self.lines)

    def start(self, states: Sequence[State]) -> None:
        """Puts one adapter in place for each state."""
        for name, layer in self._layers.items():
            layer.A = _stacked([state[f"{name}.lora_A.weight"] for state in states], layer.A)
            layer.B = _stacked([state[f"{name}.lora_B.weight"] for state in states], layer.B)

    def state(self, index: int) -> dict[str, Tensor]:
        """Weights of one adapter."""
        found = {}
        for name, layer in self._layers.items():
            found[f"{name}.lora_A.weight"] = layer.A[index].detach().cpu().clone()
            found[f"{name}.lora_B.weight"] = layer.B[index].detach().cpu().clone()
        return found

    def parameters(self) -> list[nn.Parameter]:
        """A and B of every layer."""
        return [p for layer in self._layers.values() for p in (layer.A, layer.B)]

    def scales(self, state: State) -> list[Tensor]:
        """Those of A and B of every layer."""
        names = [f"{name}.lora_{letter}.weight" for name in self._layers for letter in "AB"]
        return [state[name].to(p.device) for name, p in zip(names, self.parameters(), strict=True)]

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Every matrix of an adapter decays."""
        return [{"params": self.parameters(), "weight_decay": weight_decay}]

    def clip(self, max_norm: float) -> None:
        """Scales each adapter's gradients by its own norm."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        # the constant is torch's own, from clip_grad_norm_
        factors = (max_norm / (norms + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factors[:, None, None])


class WholeModel:
    """All weights of one model.

    Args:
        model: every parameter that is trained has `requires_grad`.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.lines = Lines()
        self._named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        # the trainer's own rule of what decays, which asks nothing of a trainer
        self._decaying = set(Trainer.get_decay_parameter_names(None, model))
        plan_dropout(model, self.lines)

    def start(self, states: Sequence[State]) -> None:
        """Puts the one state in place.

        Raises:
            ModelError: there are several.
        """
        if len(states) != 1:
            raise ModelError("all weights of a model are retrained one model at a time.")
        put_state(self.model, states[0])

    def state(self, index: int) -> dict[str, Tensor]:
        """The model's weights."""
        return {n: p.detach().cpu().clone() for n, p in self._named.items()}

    def parameters(self) -> list[nn.Parameter]:
        """Every trained parameter."""
        return list(self._named.values())

    def scales(self, state: State) -> list[Tensor]:
        """Those of every parameter."""
        return [state[name].to(p.device) for name, p in self._named.items()]

    def groups(self, weight_decay: float) -> list[dict[str, Any]]:
        """Matrices decay; biases and norms do not."""
        parts: tuple[list[nn.Parameter], list[nn.Parameter]] = ([], [])
        for name, parameter in self._named.items():
            parts[name not in self._decaying].append(parameter)
        decays = (weight_decay, 0.0)
        return [
            {"params": part, "weight_decay": decay}
            for part, decay in zip(parts, decays, strict=True)
        ]

    def clip(self, max_norm: float) -> None:
        """Scales the gradient to a norm of at most `max_norm`."""
        torch.nn.utils.clip_grad_norm_(self._named.values(), max_norm)


class _AdaptedLayer(nn.Module):
    """A linear layer under as many adapters as there are; each line of a batch runs under its own.

    Attributes:
        A: adapters × rank × inputs.
        B: adapters × outputs × rank.
    """

    def __init__(self, layer: Any, lines: Lines) -> None:
        super().__init__()
        (name,) = layer.active_adapters
        if layer.lora_variant or layer.lora_bias.get(name):
            raise ModelError("only plain LoRA adapters can be retrained (no DoRA, no biases).")
        self.base_layer = layer.base_layer
        self.scaling = float(layer.scaling[name])
        self.lines = lines
        dropout = layer.lora_dropout[name]
        self.dropout = PlannedDropout(float(getattr(dropout, "p", 0.0)), lines)
        self.A = nn.Parameter(layer.lora_A[name].weight.detach()[None].clone())
        self.B = nn.Parameter(layer.lora_B[name].weight.detach()[None].clone())

    def forward(self, x: Tensor) -> Tensor:
        """Lines × T × inputs to lines × T × outputs."""
        result: Tensor = self.base_layer(x)
        h = self.dropout(x.to(self.A.dtype))
        owner = self.lines.owner
        if isinstance(owner, int) or len(self.A) == 1:
            one = owner if isinstance(owner, int) else 0
            moved = F.linear(F.linear(h, self.A[one]), self.B[one])
        else:
            moved = torch.bmm(torch.bmm(h, self.A[owner].mT), self.B[owner].mT)
        return (result + moved * self.scaling).to(result.dtype)


def _stacked(values: Sequence[Tensor], like: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.stack(list(values)).to(like.device, like.dtype))
