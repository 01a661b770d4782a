"""Differences: against a reference answer, against the model before fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from wherefrom.methods._fisher import Influence
from wherefrom.methods._gradient import GradientDot
from wherefrom.methods._method import Method
from wherefrom.methods._registry import method


@method("contrastive")
@dataclass(frozen=True)
class Contrastive(Influence):
    """Influence on the observed answer rather than a reference: q = ∇ℓ(observed) − ∇ℓ(reference).

    What both answers share (topic, prompt, form) falls away. The modifier `reference=true` does the same
    for any method on gradients.
    """

    family: ClassVar[str] = "contrast"
    paper: ClassVar[str] = ""
    reference: bool = True

    @classmethod
    def variants(cls) -> list[Method]:
        """The default alone."""
        return [cls()]


@method("dda")
@dataclass(frozen=True)
class Dda(GradientDot):
    """Debiased and denoised: the score's mean over checkpoints less that of the base model (2410.01285).

    The base model's score is taken in the coordinates of the saved initial adapter. There B = 0, so A's
    gradients vanish and B's alone speak; with all weights trained, nothing vanishes.
    """

    family: ClassVar[str] = "contrast"
    paper: ClassVar[str] = "2410.01285"
    checkpoints: str = "mean"
    minus_base: bool = True

    @classmethod
    def variants(cls) -> list[Method]:
        """As it is, and with rows of one norm: gradients are far larger at the base model."""
        return [cls(), cls(normalise="row")]
