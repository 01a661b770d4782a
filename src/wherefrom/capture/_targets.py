"""Targets: the weights whose per-row gradients can be captured, and those that cannot."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from wherefrom.errors import ModelError, SettingError
from wherefrom.models import clean_name
from wherefrom.signals import Block


@dataclass(frozen=True)
class Target:
    """One module and those of its parameters that are traced."""

    module: nn.Module
    weight: Block | None
    bias: Block | None

    @property
    def transposed(self) -> bool:
        """Whether the weight is stored input × output (GPT-2's Conv1D)."""
        return isinstance(self.module, Conv1D)


@dataclass(frozen=True)
class Coverage:
    """How much of what was trained is traced.

    Attributes:
        traced: entries of traced parameters.
        trainable: entries of all trainable parameters.
        missing: names of trainable parameters that are not traced.
    """

    traced: int
    trainable: int
    missing: tuple[str, ...]

    @property
    def share(self) -> float:
        """Traced share of the trainable entries, 0 to 1."""
        return self.traced / max(1, self.trainable)

    def describe(self) -> str:
        """One line for people."""
        line = (
            f"{self.traced:,} of {self.trainable:,} trainable parameters traced ({self.share:.1%})"
        )
        if self.missing:
            shown = ", ".join(self.missing[:4])
            line += f"; not traced: {shown}" + (" …" if len(self.missing) > 4 else "")
        return line


def find_targets(model: nn.Module, blocks: str | None = None) -> tuple[list[Target], Coverage]:
    """Finds every linear layer with a trainable parameter of its own.

    A parameter that two modules share (tied embeddings) is not traced: the gradient seen at one of
    them is only part of it.

    Args:
        model: parameters to be traced have `requires_grad`.
        blocks: regular expression; only blocks whose name it matches are traced.

    Raises:
        ModelError: nothing can be traced.
        SettingError: `blocks` is no regular expression or matches nothing.
    """
    users: dict[int, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            users[id(parameter)] = users.get(id(parameter), 0) + 1
    names = {id(p): name for name, p in model.named_parameters()}
    trainable = {id(p): p for p in model.parameters() if p.requires_grad}
    try:
        wanted = re.compile(blocks) if blocks else None
    except re.error as error:
        raise SettingError(f"--blocks {blocks!r} is no regular expression ({error}).") from None

    def block_of(parameter: Any) -> Block | None:
        if parameter is None or id(parameter) not in trainable or users[id(parameter)] > 1:
            return None
        name = clean_name(names[id(parameter)])
        if wanted is not None and not wanted.search(name):
            return None
        return Block(name, tuple(parameter.shape))

    targets, traced = [], set()
    for module in model.modules():
        if isinstance(module, nn.Linear | Conv1D):
            weight, bias = block_of(module.weight), block_of(module.bias)
            if weight is not None or bias is not None:
                targets.append(Target(module, weight, bias))
                traced |= {id(module.weight)} if weight else set()
                traced |= {id(module.bias)} if bias else set()
    if not targets:
        if wanted is not None:
            raise SettingError(f"--blocks {blocks!r} matches no trainable linear layer.")
        raise ModelError(
            "no trainable linear layer to trace. Give a fine-tuned adapter with --adapter, or train "
            "one first with `wherefrom finetune`."
        )
    coverage = Coverage(
        traced=sum(trainable[i].numel() for i in traced),
        trainable=sum(p.numel() for p in trainable.values()),
        missing=tuple(clean_name(names[i]) for i in trainable if i not in traced),
    )
    return targets, coverage
