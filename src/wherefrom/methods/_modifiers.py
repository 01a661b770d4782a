"""Modifiers: choices that compose with every method on gradients."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from wherefrom.errors import SettingError
from wherefrom.signals import LOSS_TARGET, At, Kind, Need, Side, both

_CHOICES = {
    "scope": ("block", "whole"),
    "normalise": ("none", "block", "row"),
    "aggregate": ("sum", "rank", "vote"),
    "checkpoints": ("final", "base", "mean", "rate"),
    "form": ("auto", "dual", "primal"),
    "curvature": ("empirical", "true"),
}
_STATES = {"final": At.FINAL, "base": At.BASE}
_FIRST = re.compile(r"first[1-9]\d*")
_LAST = re.compile(r"last([1-9]\d*)")
_PLACE = re.compile(r"\.(?:layers|layer|h|blocks)\.(\d+)\.")
_ATTENTION = re.compile(r"attn|attention")


@dataclass(frozen=True)
class Modifiers:
    """What any method on gradients may be told, in the order in which it is applied.

    Attributes:
        tokens: `all` that the recipe counts; `first5`: the first five of them; `balanced`: every token
            weighs the inverse of its gradient's norm at the output layer.
        reference: take the gradient of the query's reference answer off the query's (contrastive).
        layers: `all`; `middle`: attention in the middle third; `attention`; `mlp`; `last3`; or numbers
            joined by `+`: `3+4+5`.
        project: k > 0: gradients of a weight matrix as P_o G P_iᵀ, k × k, seeded.
        scope: `block`: each weight matrix by itself, added up; `whole`: one long gradient.
        curvature: `empirical` Fisher, of the training rows; `true` Fisher (= Gauss–Newton), of labels
            drawn from the model.
        centre: take the training rows' mean gradient off both sides.
        whiten: c > 0: (F + λI)^(−1/2) on both sides, λ by the damping rule with that c.
        normalise: `block`: unit norm per block on both sides; `row`: of all chosen blocks together.
        aggregate: `sum` over blocks; `rank`: mean rank over layers; `vote`: share of the layers that have
            the row among their top tenth.
        checkpoints: the `final` model; the `base`, before the first step; the `mean` over checkpoints;
            `rate`: their mean weighted by the sum of learning rates of the steps that each stands for.
        minus_base: take off the score under the model before fine-tuning.
        form: `dual` (rows × rows), `primal` (entries × entries), or the smaller.
    """

    tokens: str = "all"
    reference: bool = False
    layers: str = "all"
    project: int = 0
    scope: str = "block"
    curvature: str = "empirical"
    centre: bool = False
    whiten: float = 0.0
    normalise: str = "none"
    aggregate: str = "sum"
    checkpoints: str = "final"
    minus_base: bool = False
    form: str = "auto"

    def check(self, name: str) -> None:
        """Refuses values that mean nothing.

        Raises:
            SettingError: what is wrong, and what may be given.
        """
        for key, allowed in _CHOICES.items():
            if getattr(self, key) not in allowed:
                raise SettingError(
                    f"{name}: {key} must be {', '.join(allowed)}, not {getattr(self, key)!r}."
                )
        if self.tokens not in ("all", "balanced", "margin") and not _FIRST.fullmatch(self.tokens):
            raise SettingError(
                f"{name}: tokens must be all, balanced or first5, not {self.tokens!r}."
            )
        named = self.layers in ("all", "middle", "attention", "mlp")
        if not named and not _LAST.fullmatch(self.layers) and not _numbers(self.layers):
            raise SettingError(
                f"{name}: layers must be all, middle, attention, mlp, last3 or numbers like 3+4+5, not "
                f"{self.layers!r}."
            )
        if self.minus_base and self.checkpoints == "base":
            raise SettingError(f"{name}: minus_base of checkpoints=base would leave nothing.")
        if self.project < 0 or self.whiten < 0:
            raise SettingError(f"{name}: project and whiten must not be negative.")
        if self.scope == "whole" and self.form == "primal":
            raise SettingError(f"{name}: whole gradients are too long for the primal form.")
        if self.scope == "whole" and self.aggregate != "sum":
            raise SettingError(f"{name}: aggregate={self.aggregate} takes scope=block.")

    @property
    def at(self) -> At:
        """The states that are looked at, but for the one that `minus_base` takes off."""
        return _STATES.get(self.checkpoints, At.CHECKPOINTS)

    @property
    def target(self) -> str:
        """What gradients are taken of."""
        return LOSS_TARGET if self.tokens == "all" else self.tokens

    @property
    def signals(self) -> frozenset[Need]:
        """The needs that follow from the modifiers."""
        found: frozenset[Need] = frozenset()
        for at in [self.at, *([At.BASE] if self.minus_base else [])]:
            found |= both(Kind.GRADIENT, self.target, at)
            if self.reference:
                found |= {Need(Kind.GRADIENT, self.target, Side.REFERENCE, at)}
            if self.curvature == "true":
                found |= {Need(Kind.GRADIENT, "sampled", Side.TRAIN, at)}
        return found


def layer_of(block: str) -> int:
    """Number of the transformer layer that a block lies in; −1 outside all of them.

    Example:
        >>> layer_of("model.layers.7.self_attn.q_proj.lora_A.weight")
        7
    """
    match = _PLACE.search(f".{block}")
    return int(match[1]) if match else -1


def chosen_blocks(layers: str, blocks: Sequence[str]) -> set[str]:
    """Names of the blocks that a choice of layers keeps.

    Raises:
        SettingError: none is left.
    """
    depth = 1 + max((layer_of(block) for block in blocks), default=-1)

    def kept(block: str) -> bool:
        layer, attention = layer_of(block), bool(_ATTENTION.search(block))
        last = _LAST.fullmatch(layers)
        if layers == "all":
            return True
        if layers == "attention":
            return attention
        if layers == "mlp":
            return layer >= 0 and not attention
        if layers == "middle":
            return attention and depth <= 3 * layer + 2 and 3 * layer < 2 * depth
        if last is not None:
            return layer >= depth - int(last[1])
        return layer in (_numbers(layers) or ())

    found = {block for block in blocks if kept(block)}
    if not found:
        raise SettingError(f"layers={layers} keeps no traced block; there are {depth} layers.")
    return found


def _numbers(text: str) -> list[int] | None:
    return [int(n) for n in text.split("+")] if re.fullmatch(r"\d+(\+\d+)*", text) else None
