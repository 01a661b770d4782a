"""Methods along the run itself: every step is taken again, and the rows' part in it is read off."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Method, Resource
from wherefrom.methods._registry import method


@dataclass(frozen=True)
class ReplayMethod(DirectMethod):
    """A method whose scores fall out of a replay of the fine-tune.

    A replay costs several fine-tunes, and one Hessian-vector product a step and query, so none of these is
    among `all`: they run where they are named.
    """

    family: ClassVar[str] = "replay"
    resources: ClassVar[frozenset[Resource]] = frozenset({Resource.REPLAY})

    @property
    @abstractmethod
    def replays(self) -> tuple[str, ...]:
        """Names of the replayed quantities whose sum the scores are."""

    @property
    def cost(self) -> str:
        """The dearest class there is."""
        return "replay"

    @classmethod
    def variants(cls) -> list[Method]:
        """None: named or not at all."""
        return []

    def score(self, evidence: Evidence) -> np.ndarray:
        """The sum of what was replayed."""
        missing = [name for name in self.replays if name not in evidence.replays]
        if missing:
            raise SettingError(
                f"{self.spec}: the run was not replayed for these queries ({missing[0]} is missing). "
                f"Index it with --methods {self.name}."
            )
        parts = [np.asarray(evidence.replays[name], dtype=np.float64) for name in self.replays]
        return np.asarray(np.sum(parts, axis=0))


@method("unrolled")
@dataclass(frozen=True)
class Unrolled(ReplayMethod):
    """Exact derivative of the query's log-probability by a row's weight, through every training step.

    The metagradient of MAGIC (2504.16430): the optimizer, its moments, clipping, batches and dropout of
    the run, none of it approximated. What leaving a row out does to this very run, to first order.
    """

    paper: ClassVar[str] = "2504.16430"
    unit: ClassVar[str] = "nats a token for a row's whole weight"

    @property
    def replays(self) -> tuple[str, ...]:
        """The one derivative."""
        return ("unrolled",)


@method("in_run_shapley")
@dataclass(frozen=True)
class InRunShapley(ReplayMethod):
    """In-run data Shapley: a row's share of what each step changed about the query, summed over the run.

    Attributes:
        order: 1 for ⟨query's gradient, row's part of the step⟩; 2 adds half its curvature with the whole
            step.
        preconditioned: let the step be AdamW's, its second moment held fixed, in place of SGD's (our
            extension; 2406.11011 derives it for SGD).
    """

    order: int = 2
    preconditioned: bool = False
    paper: ClassVar[str] = "2406.11011"
    unit: ClassVar[str] = "nats a token"

    def __post_init__(self) -> None:
        if self.order not in (1, 2):
            raise SettingError(f"in_run_shapley: order must be 1 or 2, not {self.order}.")

    @property
    def replays(self) -> tuple[str, ...]:
        """The first-order part, and the second where it is asked for."""
        kind = "preconditioned" if self.preconditioned else "published"
        return tuple(f"in-run {kind} order {n}" for n in range(1, self.order + 1))
