"""Methods on gradients: what they are shown of one block, and the class they share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from wherefrom.curvature import DampingRule, FisherBlock, KroneckerFactors
from wherefrom.data import Recipe
from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import RawBlock
from wherefrom.methods._method import Method, Resource, Trait
from wherefrom.methods._modifiers import Modifiers
from wherefrom.signals import LOSS_TARGET, Moments, Need, Policy

Sums = dict[str, np.ndarray]
REMOVAL = "nats; divided by n it predicts how much the query's loss rises without the row"
"""The unit of scores that predict what leaving a row out does."""
_RESCALING = ("tokens", "project", "centre", "whiten", "normalise")
"""Modifiers after which a score no longer is a number of nats."""
_STATES = {
    "base": "before the first step",
    "mean": "mean over checkpoints",
    "rate": "mean over checkpoints, by their learning rates",
}


def predicts_removal(unit: str) -> bool:
    """Whether scores in a unit predict what leaving a row out does, at one state or in the mean of some."""
    return unit == REMOVAL or any(unit == f"{REMOVAL}; {which}" for which in _STATES.values())


class BlockEvidence:
    """What a method is shown of one block (or of all blocks as one) at one state of the model.

    Attributes:
        fisher: products and curvature of the gradients, after the method's modifiers.
        recipe: damping rule and strength.
        raw: the gradients themselves, before centring, whitening and normalising.
        point: the state of the model.
    """

    def __init__(
        self,
        fisher: Callable[[], FisherBlock],
        recipe: Recipe,
        raw: RawBlock | None,
        point: Point,
    ) -> None:
        self._fisher = fisher
        self.recipe = recipe
        self._raw = raw
        self.point = point

    @cached_property
    def fisher(self) -> FisherBlock:
        """Products and curvature of the gradients, after the method's modifiers."""
        return self._fisher()

    @property
    def raw(self) -> RawBlock:
        """The block's gradients.

        Raises:
            SettingError: only products are here: all blocks are taken as one, or nothing else was kept.
        """
        if self._raw is None:
            raise SettingError(
                "this method looks at a block's gradients themselves; use scope=block, and gradients "
                "that are kept whole."
            )
        return self._raw

    @property
    def moments(self) -> Moments:
        """AdamW's moments of the block.

        Raises:
            SettingError: the optimizer did not keep any.
        """
        found = self.point.moments.get(self.raw.block.name)
        if found is None:
            raise SettingError(f"no AdamW moments of {self.raw.block.name} at {self.point.name}.")
        return found

    @property
    def factors(self) -> KroneckerFactors:
        """Kronecker factors of the block.

        Raises:
            SettingError: none were captured.
        """
        if self.point.factors is None or self.raw.block.name not in self.point.factors.sums:
            raise SettingError(f"no Kronecker factors of {self.raw.block.name} were captured.")
        return self.point.factors.factors(self.raw.block.name)

    def sampled(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row numbers and gradients under labels drawn from the model, a chunk at a time."""
        return self.raw.stream("sampled")


@dataclass(frozen=True)
class BlockMethod(Modifiers, Method):
    """A method that sees one block at a time, so that all of them share each block.

    Beside its own settings it takes every modifier (`Modifiers`); they are applied before it looks.
    """

    raw_gradients: ClassVar[bool] = False
    """Whether it looks at `BlockEvidence.raw`: such methods see what projecting and choosing leave, and
    the modifiers on products do not reach them."""
    linear: ClassVar[bool] = False
    """Whether a row's `score` is a product with its gradient (after the modifiers) and all else a number,
    so that one set of weights serves any number of rows. Said anew by whoever overrides `contribution` or
    `finish`; see `is_linear`."""
    additive: ClassVar[bool] = False
    """Whether a score is a sum over parts of the row's gradient once the whole gradient's norm is known, as
    that of every linear method is."""
    summed: ClassVar[bool] = False
    """Whether it adds up over checkpoints, as its unit then says, where others take the mean."""
    spectral: ClassVar[bool] = False
    """Whether it asks for the spectrum, so that its cost is counted among what is shared."""

    def __post_init__(self) -> None:
        self.check(self.name)
        if self.raw_gradients:
            still = ("scope", "curvature", "centre", "whiten", "normalise", "form")
            defaults = Modifiers()
            moved = [k for k in still if getattr(self, k) != getattr(defaults, k)]
            if moved:
                raise SettingError(
                    f"{self.name} works on gradients themselves and takes no {', '.join(moved)}."
                )

    @property
    def needs(self) -> frozenset[Need]:
        """The gradients that the modifiers ask for."""
        return self.signals

    @property
    def alone(self) -> Method:
        """The same at one state: `checkpoints=final`."""
        return replace(self, checkpoints="final")

    def refusal(self, policy: Policy) -> str | None:
        """Why it cannot be scored under a policy: products alone know one target and one set of rows."""
        if policy is not Policy.GRAM or self.raw_gradients:
            return super().refusal(policy)
        apart = {
            "the gradients of other tokens": self.target != LOSS_TARGET,
            "the reference answers' gradients": self.reference,
            "gradients under drawn labels": self.curvature == "true",
            "gradients to project": self.project > 0,
            "gradients for the primal form": self.form == "primal",
        }
        missing = [what for what, wanted in apart.items() if wanted]
        return f"only products are kept, not {' nor '.join(missing)}" if missing else None

    @classmethod
    def is_linear(cls) -> bool:
        """Whether scores are linear in the row's gradient, as the class says that last defined them."""
        for one in cls.__mro__:
            if "linear" in vars(one):
                return bool(vars(one)["linear"])
            if {"contribution", "finish"} & vars(one).keys():
                return False
        return False

    @property
    def scale(self) -> str:
        """What one unit of the scores is, under the modifiers."""
        if self.aggregate == "rank":
            return "mean rank over layers, 0 (last) to 1 (first)"
        if self.aggregate == "vote":
            return "share of layers that have the row in their top tenth"
        own = {f.name: f.default for f in fields(self)}
        changed = [k for k in _RESCALING if getattr(self, k) != own[k]]
        unit = self.unit
        if changed and "nats" in unit:
            unit = f"arbitrary: {', '.join(changed)} changed the gradients"
        if self.checkpoints in _STATES and not self.summed:
            unit += f"; {_STATES[self.checkpoints]}"
        if self.minus_base:
            unit += "; less the base model's"
        return unit + ("; of the response less the reference answer" if self.reference else "")

    @property
    def traits(self) -> frozenset[Trait]:
        """Less the base model's score, where gradients are larger, a row may oppose itself."""
        return frozenset({Trait.DIFFERENCE}) if self.minus_base else frozenset()

    @property
    def requires(self) -> frozenset[Resource]:
        """Reference answers too, where the query's is contrasted."""
        return self.resources | ({Resource.REFERENCES} if self.reference else frozenset())

    @abstractmethod
    def contribution(self, block: BlockEvidence) -> Sums:
        """What one block adds: `score` (queries × training rows) and whatever `finish` needs."""

    def finish(self, sums: Sums, blocks: int) -> np.ndarray:
        """Scores from what the blocks added up to."""
        return sums["score"]

    def combine(
        self, values: Sequence[np.ndarray], points: Sequence[Point], evidence: Evidence
    ) -> np.ndarray:
        """Scores from those at every state: of the final model, or their mean, plain or by reach."""
        weights = np.ones(len(values))
        if self.checkpoints == "rate":
            weights = np.array([point.reach for point in points])
        return np.asarray(np.tensordot(weights / weights.sum(), np.stack(values), 1))

    def measured(self, sums: Sums, blocks: int) -> dict[str, Any]:
        """What the method found out about itself, put beside its settings."""
        return {}


@dataclass(frozen=True)
class DampedMethod(BlockMethod):
    """A method with damping λ.

    Attributes:
        damping: c; the recipe's when None.
        rule: `mean`: λ = c·tr(F)/p; `nonzero`: λ = c·tr(F)/min(m, p); the recipe's when None.
    """

    damping: float | None = None
    rule: Literal["mean", "nonzero"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.damping is not None and not self.damping > 0:
            raise SettingError(f"{self.name}: damping must be above 0, not {self.damping}.")
        if self.rule not in (None, "mean", "nonzero"):
            raise SettingError(f"{self.name}: rule must be mean or nonzero, not {self.rule!r}.")

    def strength(self, recipe: Recipe) -> tuple[DampingRule, float]:
        """Rule and c that hold here."""
        rule = recipe.damping_rule if self.rule is None else self.rule
        return rule, recipe.damping if self.damping is None else self.damping

    def lam(self, block: BlockEvidence) -> float:
        """λ of the block."""
        return block.fisher.damping(*self.strength(block.recipe))

    def measured(self, sums: Sums, blocks: int) -> dict[str, Any]:
        """Means over blocks of λ and of whatever else is a single number."""
        return {f"mean {k}": float(v) / blocks for k, v in sums.items() if v.ndim == 0}
