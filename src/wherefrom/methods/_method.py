"""Method: what every attribution method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar

import numpy as np

from wherefrom.methods._evidence import Evidence
from wherefrom.signals import At, Kind, Need, Policy


class Trait(StrEnum):
    """What sets a method apart from the rule that the conformance suite tests."""

    STOCHASTIC = "draws random numbers: another seed, other scores"
    NO_EVIDENCE = "knows nothing: a row that is its own query need not stand out"
    QUERY_FREE = "gives a row the same score for every query"
    QUERY_SET = "looks at all queries together: a query's scores depend on the others"
    RESPONSE_BLIND = "does not see the response: rows with the same prompt score alike"
    ROW_SET = "scores a row against the other rows, duplicates apart"
    DIFFERENCE = "a difference of two scores: a row that is its own query need not be a proponent"
    LOOSE_SELF = (
        "a row that is its own query is a proponent, but a contradicting row may score alike"
    )


class Resource(StrEnum):
    """What a method needs beside signals; where it is missing the planner says so and leaves it out."""

    MOMENTS = "AdamW's moments, which a fine-tune by wherefrom keeps"
    REFERENCES = "a reference answer for every query"
    REPLAY = "a replay of the fine-tune, which wherefrom must have made, on given queries"
    EMBEDDER = "a sentence-transformers model, given as embedding(model=FOLDER)"


COSTS = ("text", "forward", "one pass", "more passes", "checkpoints", "draws", "replay")
"""Cost classes, cheapest first."""


@dataclass(frozen=True)
class Method(ABC):
    """An attribution method. Fields are its settings; it holds no state and never runs a model.

    Scores it gives follow one sign: higher = pushed the model more towards the query's response.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    paper: ClassVar[str] = ""
    unit: ClassVar[str] = "arbitrary"
    resources: ClassVar[frozenset[Resource]] = frozenset()

    @property
    def needs(self) -> frozenset[Need]:
        """The signals it must be given, under its settings; none for methods on text."""
        return frozenset()

    @property
    def traits(self) -> frozenset[Trait]:
        """What sets it apart from the rule, under its settings."""
        return frozenset()

    @property
    def requires(self) -> frozenset[Resource]:
        """What else it must be given, under its settings."""
        return self.resources

    @property
    def policies(self) -> frozenset[Policy]:
        """What may be kept of gradients so that it can still be scored."""
        return frozenset(policy for policy in Policy if self.refusal(policy) is None)

    def refusal(self, policy: Policy) -> str | None:
        """Why it cannot be scored where that is what is kept of gradients; None where it can."""
        kinds = {need.kind for need in self.needs}
        if policy is Policy.EXACT or Kind.GRADIENT not in kinds:
            return None
        if policy is Policy.GRAM:
            return "it looks at gradients themselves, and only their products are kept"
        if Kind.FACTORS in kinds:
            return "Kronecker factors belong to whole weight matrices, and gradients are projected"
        if Resource.MOMENTS in self.requires:
            return "AdamW's moments belong to single weights, and gradients are projected"
        return None

    @classmethod
    def variants(cls) -> list[Method]:
        """The settings that `--methods all` runs; the defaults alone unless a method says more."""
        return [cls()]

    def settings(self) -> dict[str, Any]:
        """Every setting, defaults too."""
        return asdict(self)

    @property
    def spec(self) -> str:
        """The method as typed: its name and the settings that differ from the defaults."""
        changed = [
            f"{f.name}={shown(getattr(self, f.name))}"
            for f in fields(self)
            if getattr(self, f.name) != f.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    @property
    def alone(self) -> Method:
        """The same at one state of the model, for those that look along the run."""
        return self

    @property
    def cost(self) -> str:
        """Cost class, one of `COSTS`."""
        needs = self.needs
        if any(need.at is At.DRAWS for need in needs):
            return "draws"
        if At.CHECKPOINTS in (ats := {need.at for need in needs}) or len(ats) > 1:
            return "checkpoints"
        backward = [need for need in needs if need.kind.backward]
        if any(n.target != "loss" or n.kind is Kind.FACTORS for n in backward):
            return "more passes"
        if backward:
            return "one pass"
        return "forward" if needs else "text"


@dataclass(frozen=True)
class DirectMethod(Method):
    """A method that looks at text or states and answers at once."""

    @abstractmethod
    def score(self, evidence: Evidence) -> np.ndarray:
        """Scores, queries × training rows; higher = pushed the model more towards the response."""


def shown(value: Any) -> str:
    """A setting as it is typed."""
    return str(value).lower() if isinstance(value, bool) else str(value)
