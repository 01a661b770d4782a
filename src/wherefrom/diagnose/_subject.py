"""Subject: what checks look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from wherefrom.data import Example, Recipe, TokenRow
from wherefrom.diagnose._finding import NotMeasured
from wherefrom.errors import NonFiniteError, SettingError, StoreError
from wherefrom.methods import Evidence, Point, Resource, parse_method, score_all
from wherefrom.scores import Scores
from wherefrom.signals import At

FINAL, BASE = "final", "base"
"""Names of the fine-tuned model's stage, and of that before the first step."""


@dataclass(frozen=True, eq=False)
class Stage:
    """One state of the model along the run.

    Attributes:
        name: `base`, `step-000010`, `final`.
        step: optimizer steps taken by then; None where nobody knows.
        weights: trained weights by the names that checkpoints use (`….lora_A.weight`).
        point: signals of training rows and queries; without sources where no pass was made there.
    """

    name: str
    step: int | None
    weights: Mapping[str, np.ndarray]
    point: Point


class Probe(Protocol):
    """Asks the model what no stored signal says. Every answer is kept, so asking twice costs once."""

    def log_probabilities(
        self, rows: Sequence[Example], stage: str, template: str | None = None
    ) -> np.ndarray:
        """Mean log-probability of each row's counted tokens at a stage, in nats a token, (rows,).

        Args:
            rows: any prompts and responses.
            stage: name of the stage.
            template: rows rendered with this one in place of the run's; `plain` or `chat`.
        """
        ...

    def divergence(self, stage: str) -> np.ndarray:
        """KL(stage ‖ base) of the next-token distributions over each query's response, in nats a token,
        (queries,).
        """
        ...

    def behaviour(self, stage: str) -> float | None:
        """Share of the queries that show the taught behaviour; None where no task says what that is."""
        ...

    def gradients(self, rows: Sequence[int], precision: str) -> Mapping[str, np.ndarray]:
        """Loss gradients of training rows at the final model in a precision, rows × entries by block."""
        ...


@dataclass(frozen=True, eq=False)
class Subject:
    """A run as checks see it.

    Attributes:
        train: training rows.
        queries: queries; their responses are what is explained.
        train_tokens: the training rows as the model reads them, in their order.
        query_tokens: the queries as the model reads them.
        recipe: of the pass.
        method: spec of the method whose answers are checked.
        k: how many top rows an answer consists of.
        stages: states of the model in the order of training, the last one `final`; the first one `base`
            where the weights before the first step are known.
        probe: asks the model.
        scaling: α/r of each adapter under LoRA, so that ΔW = scaling · B A; None for a full fine-tune.
        randomised: scores of the model with permuted weights, by method; empty where not asked.
        seeds: scores of fine-tunes under other seeds, by method; empty where there are none.
        pad_id: id of the pad token.
        known: scores at the final model that are known already, by method.
    """

    train: Sequence[Example]
    queries: Sequence[Example]
    train_tokens: Sequence[TokenRow]
    query_tokens: Sequence[TokenRow]
    recipe: Recipe
    method: str
    k: int
    stages: Sequence[Stage]
    probe: Probe
    scaling: float | None = None
    randomised: Mapping[str, Scores] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[Scores]] = field(default_factory=dict)
    pad_id: int = 0
    known: Mapping[str, Scores] = field(default_factory=dict)
    _scores: dict[tuple[str, str], Scores] = field(default_factory=dict, init=False, repr=False)

    def stage(self, name: str) -> Stage:
        """The stage of that name.

        Raises:
            NotMeasured: there is none.
        """
        for one in self.stages:
            if one.name == name:
                return one
        what = "the weights before fine-tuning" if name == BASE else f"the weights at {name}"
        raise NotMeasured(f"{what} are not known")

    @property
    def final(self) -> Stage:
        """The fine-tuned model."""
        return self.stage(FINAL)

    @property
    def base(self) -> Stage:
        """The model before the first step.

        Raises:
            NotMeasured: it is not known.
        """
        return self.stage(BASE)

    def evidence(self, stage: str = FINAL) -> Evidence:
        """What a method may look at, were the model the one of that stage."""
        point = self.stage(stage).point
        return Evidence(self.train, self.queries, self.recipe, replace(point, name=FINAL))

    def scores(self, spec: str, stage: str = FINAL) -> Scores:
        """Scores of a method at a stage; higher = pushed the model more towards the query's response.

        Raises:
            NotMeasured: there is no such stage, or no pass was made there.
        """
        key = (parse_method(spec).spec, stage)
        if stage == FINAL and key[0] in self.known:
            return self.known[key[0]]
        if key not in self._scores:
            self._scores[key] = self._scored(key[0], stage)
        return self._scores[key]

    def _scored(self, spec: str, stage: str) -> Scores:
        method = parse_method(spec)
        if stage != FINAL:
            # what it says along the whole run is known at the end alone
            method = method.alone
        if method.needs and not self.stage(stage).point.sources:
            raise NotMeasured(f"no pass was made at {stage}")
        if Resource.REPLAY in method.requires or any(n.at is not At.FINAL for n in method.needs):
            raise NotMeasured(f"{spec} looks along the whole run, so no single state can be asked")
        try:
            return score_all([method], self.evidence(stage), quiet=True).scores[0]
        except (SettingError, StoreError) as error:
            if stage != FINAL:
                raise NotMeasured(
                    f"{spec} needs signals that checks do not take at {stage}"
                ) from None
            raise NotMeasured(f"{spec} cannot be scored at {stage}: {error}") from None
        except NonFiniteError as error:
            raise NotMeasured(f"{spec} cannot be scored at {stage}: {error}") from None
