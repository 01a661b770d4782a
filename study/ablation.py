"""The ablation: every combination of mask, curvature, damping, normalisation and layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from wherefrom.methods import parse_method

MASKS = ("sound-1", "sound-1(mask=prompt+response)", "paper-1")
"""Recipes under which the same fine-tuned model is passed over; the first is that of training."""


class Setting(NamedTuple):
    """One combination.

    Attributes:
        mask: recipe of the pass.
        curvature: `none`, `datainf`, `fisher` (empirical, exact), `true` (drawn labels, exact).
        damping: c and rule of λ; `none` without curvature.
        normalise: of gradients, on both sides.
        layers: which weight matrices count.
    """

    mask: str
    curvature: str
    damping: str
    normalise: str
    layers: str


CURVATURES = {
    "none": "gradient_dot",
    "datainf": "datainf",
    "fisher": "influence",
    "true": "influence",
}
DAMPINGS = {
    "paper": "damping=0.1, rule=mean",
    "0.01": "damping=0.01, rule=nonzero",
    "0.1": "damping=0.1, rule=nonzero",
    "1": "damping=1.0, rule=nonzero",
    "10": "damping=10.0, rule=nonzero",
}
NORMALISE = ("none", "block", "row")
LAYERS = ("all", "attention", "mlp", "last1")


def spec_of(one: Setting) -> str:
    """The method that a combination is, without its mask."""
    parts = [] if one.curvature == "none" else [DAMPINGS[one.damping]]
    parts += ["curvature=true"] if one.curvature == "true" else []
    parts += [f"normalise={one.normalise}"] if one.normalise != "none" else []
    parts += [f"layers={one.layers}"] if one.layers != "all" else []
    name = CURVATURES[one.curvature]
    return parse_method(f"{name}({', '.join(parts)})").spec


def settings_of(mask: str) -> list[Setting]:
    """Every combination under a mask."""
    found = []
    for curvature, normalise, layers in product(CURVATURES, NORMALISE, LAYERS):
        dampings = ("none",) if curvature == "none" else tuple(DAMPINGS)
        found += [Setting(mask, curvature, damping, normalise, layers) for damping in dampings]
    return found


def specs_on(blocks: Sequence[str]) -> tuple[str, ...]:
    """The methods that every combination comes to, without choices of layers that nothing is trained in."""
    mlp = any("mlp" in name for name in blocks)
    kept = [one for one in settings_of(MASKS[0]) if mlp or one.layers != "mlp"]
    return tuple(dict.fromkeys(spec_of(one) for one in kept))
