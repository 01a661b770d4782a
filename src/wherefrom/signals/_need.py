"""Needs: what a method must be given, so that a planner can merge them into few passes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a pass reads off a row."""

    LOSS = "losses"
    HIDDEN = "hidden states"
    ERROR = "token errors"
    GRADIENT = "gradient"
    STATE_GRADIENT = "gradient of hidden states"
    FACTORS = "Kronecker factors"

    @property
    def backward(self) -> bool:
        """Whether it takes a backward pass."""
        return self in (Kind.GRADIENT, Kind.STATE_GRADIENT, Kind.FACTORS)


class At(StrEnum):
    """Which states of the model it is read at."""

    FINAL = "final"
    CHECKPOINTS = "checkpoints"
    BASE = "base"
    DRAWS = "draws"


class Side(StrEnum):
    """Whose rows it is read of: training rows, queries, or the queries' reference answers."""

    TRAIN = "train"
    QUERY = "queries"
    REFERENCE = "references"


class Policy(StrEnum):
    """What of a training row's gradients is kept."""

    EXACT = "exact"
    PROJECTED = "projected"
    GRAM = "gram"


LOSS_TARGET = "loss"
SAMPLED = "sampled"
MARGIN = "margin"
BALANCED = "balanced"
"""Targets of a gradient: the recipe's loss; that of labels drawn from the model; TRAK's margin; the loss
with every token's own gradient at the output layer brought to one norm. `first5` counts the first five
tokens only."""


@dataclass(frozen=True, order=True)
class Need:
    """One kind of signal, of one side's rows, at one or several states of the model.

    Attributes:
        kind: what is read.
        target: of what the gradient is taken; `loss` for kinds that are no gradients.
        side: of whose rows.
        at: at which states.
    """

    kind: Kind
    target: str = LOSS_TARGET
    side: Side = Side.TRAIN
    at: At = At.FINAL

    @property
    def slug(self) -> str:
        """Name of the store that holds it: `gradient`, `gradient-first5`, `hidden-states`."""
        name = self.kind.value.replace(" ", "-").lower()
        return name if self.target == LOSS_TARGET else f"{name}-{self.target}"


def both(kind: Kind, target: str = LOSS_TARGET, at: At = At.FINAL) -> frozenset[Need]:
    """The need of training rows and queries alike."""
    return frozenset(Need(kind, target, side, at) for side in (Side.TRAIN, Side.QUERY))
