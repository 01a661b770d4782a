"""Recipe: the choices that the literature disagrees on, under one versioned name."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from wherefrom.errors import SettingError

Mask = Literal["response", "prompt+response", "paper"]
Reduction = Literal["mean", "sum"]
DampingRule = Literal["mean", "nonzero"]


@dataclass(frozen=True)
class Recipe:
    """How rows become token rows, gradients and damped curvature.

    A changed default is a new version, never an old name with a new meaning.

    Attributes:
        name: as typed, with its version.
        template: `auto` takes the tokenizer's chat template, or `plain` where it has none.
        mask: which tokens' losses count. `response`: the assistant's tokens and the token that ends
            the turn. `prompt+response`: all tokens. `paper`: all tokens of a row that is left-padded with
            EOS to `max_length`, the pads included (arXiv 2409.19998's released code).
        max_length: tokens of a row; longer rows lose their end.
        reduction: a row's loss is the `mean` or `sum` over the tokens that count.
        damping_rule: `mean`: λ_b = c·tr(F_b)/p_b. `nonzero`: λ_b = c·tr(F_b)/min(n, p_b).
        damping: c.
    """

    name: str
    template: str = "auto"
    mask: Mask = "response"
    max_length: int = 1024
    reduction: Reduction = "mean"
    damping_rule: DampingRule = "nonzero"
    damping: float = 1.0

    def __post_init__(self) -> None:
        if self.mask not in ("response", "prompt+response", "paper"):
            raise SettingError(
                f"mask must be response, prompt+response or paper, not {self.mask!r}."
            )
        if self.max_length < 2:
            raise SettingError(f"max_length must be at least 2, not {self.max_length}.")

    def identity(self) -> dict[str, Any]:
        """The choices that change what a captured signal is (damping does not)."""
        kept = ("template", "mask", "max_length", "reduction")
        return {key: value for key, value in asdict(self).items() if key in kept}


_CHANGEABLE: dict[str, type] = {"template": str, "mask": str, "max_length": int}

RECIPES = {
    "sound-1": Recipe("sound-1"),
    "paper-1": Recipe("paper-1", mask="paper", max_length=128, damping_rule="mean", damping=0.1),
}


def get_recipe(name: str, **changes: Any) -> Recipe:
    """The recipe of that name, with the changes that are not None.

    A changed recipe says so in its name, `sound-1(mask=prompt+response)`, and such a name is read back.

    Raises:
        SettingError: no recipe has that name, or a change in it is unknown.
    """
    name, _, written = name.removesuffix(")").partition("(")
    if name not in RECIPES:
        raise SettingError(f"no recipe is called {name!r}. Recipes: {', '.join(RECIPES)}.")
    recipe = RECIPES[name]
    changes = _read(name, written) | {k: v for k, v in changes.items() if v is not None}
    changed = {key: value for key, value in changes.items() if value != getattr(recipe, key)}
    if not changed:
        return recipe
    shown = ", ".join(f"{key}={value}" for key, value in changed.items())
    return replace(recipe, name=f"{name}({shown})", **changed)


def _read(name: str, written: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in filter(None, re.split(r",\s*", written)):
        key, _, value = part.partition("=")
        if key not in _CHANGEABLE:
            raise SettingError(
                f"recipe {name} has no choice {key!r}. Choices: {', '.join(_CHANGEABLE)}."
            )
        try:
            found[key] = _CHANGEABLE[key](value)
        except ValueError:
            raise SettingError(f"recipe {name}: {key} must be a number, not {value!r}.") from None
    return found
