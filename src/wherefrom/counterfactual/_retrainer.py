"""Retrainer: a fine-tune done again on other weightings of its rows, as many at once as pays."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from wherefrom.counterfactual._dropout import drops_attention
from wherefrom.counterfactual._outcome import Behaviour, read_outcomes
from wherefrom.counterfactual._plan import TrainingPlan
from wherefrom.counterfactual._trainees import Adapters, Trainees, WholeModel
from wherefrom.counterfactual._training import Course, Ending
from wherefrom.data import TokenRow
from wherefrom.errors import NonFiniteError
from wherefrom.identity import digest_arrays, digest_value
from wherefrom.models import FinetuneSettings, LoadedModel, generate, prepare

_TOKENS = 1024
_LARGE = 1e8
"""Adapters trained together pay up to `_TOKENS` tokens a step where the base has `_LARGE` parameters or
more; more of them make up for the overhead of a smaller one (`benchmarks/retraining.py`)."""
_MOST = 32
_PROBE = 2.0
"""Seconds after which no further step is timed."""


class Retrainer:
    """Trains the run's own recipe again on weighted rows and asks the result the queries.

    Same base weights, template, batches, rates, optimizer and dropout as `wherefrom.models.finetune`;
    another seed has other batches, dropout and first weights. Outcomes are read in float32, as the pass
    reads its signals, whatever precision training runs in.

    Args:
        spec: the base model.
        rows: training rows.
        queries: rows whose outcomes are wanted; may be empty.
        settings: of the fine-tune.
        behaviour: how to tell from generated answers whether a model behaves; not asked when None.
        trajectory: what the fine-tune left; its own seed is replayed from there. Made anew when None.
        trust_remote_code: run code that ships with the model.
        together: adapters trained at once; chosen from the size of a step when None.

    Attributes:
        together: how many are trained at once.
    """

    def __init__(
        self,
        spec: str,
        rows: Sequence[TokenRow],
        queries: Sequence[TokenRow],
        settings: FinetuneSettings,
        *,
        behaviour: Behaviour | None = None,
        trajectory: Path | None = None,
        trust_remote_code: bool = False,
        together: int | None = None,
    ) -> None:
        self.spec, self.rows, self.queries = spec, rows, queries
        self.settings, self.behaviour = settings, behaviour
        self._trust = trust_remote_code
        self._plans: dict[int, TrainingPlan] = {}
        self._keys: dict[int, dict[str, Any]] = {}
        self._prepared = self._prepare(settings.seed)
        self.base = self._prepared.identity
        if trajectory is not None:
            self._plans[settings.seed] = TrainingPlan.saved(trajectory, settings)
        else:
            self._plans[settings.seed] = TrainingPlan.of(self._prepared, len(rows), settings)
        self.whole_batches = drops_attention(self._prepared.model)
        alone = settings.mode == "full" or self.whole_batches
        self.together = 1 if alone else together or self._pays()
        self.trainees = _trainees(self._prepared.model, settings)
        self.course = Course(
            self.trainees, rows, settings, self._prepared.pad_id, whole_batches=self.whole_batches
        )

    @cached_property
    def judge(self) -> Trainees:
        """Runs the trained weights in float32."""
        if self.settings.mode == "full" or self.settings.resolved_precision() == "float32":
            return self.trainees
        settings = self.settings.model_copy(update={"precision": "float32"})
        return Adapters(prepare(self.spec, settings, trust_remote_code=self._trust).model)

    def plan(self, seed: int) -> TrainingPlan:
        """The course of the run under a seed."""
        if seed not in self._plans:
            settings = self.settings.model_copy(update={"seed": seed})
            self._plans[seed] = TrainingPlan.of(self._prepare(seed), len(self.rows), settings)
        return self._plans[seed]

    def key(self, weights: np.ndarray, seed: int) -> dict[str, Any]:
        """Everything that decides what a model becomes that is trained on rows of these weights.

        Args:
            weights: (rows,), each row's weight in the loss.
            seed: of the run.
        """
        return self._fixed(seed) | {
            "weights": digest_arrays([("weights", np.asarray(weights, dtype=np.float64))])
        }

    def outcomes(
        self,
        weights: np.ndarray,
        seed: int,
        stepped: Callable[[int], None] = lambda tokens: None,
    ) -> dict[str, np.ndarray]:
        """Trains one model for each line of weights and asks all of them the queries.

        Args:
            weights: models × rows, at most `together` models.
            seed: of the run.
            stepped: told after each step how many tokens were run.

        Returns:
            By name of the outcome: float64, models × queries.

        Raises:
            NonFiniteError: a model diverged.
        """
        self.train(weights, seed, stepped)
        return self.read(len(weights))

    def train(
        self,
        weights: np.ndarray,
        seed: int,
        stepped: Callable[[int], None] = lambda tokens: None,
    ) -> None:
        """Trains one model for each line of weights; they stay in `trainees`."""
        plan = self.plan(seed)
        self.trainees.start([plan.initial] * len(weights))
        self.course.run(plan.batches, plan.rates, weights, seed, stepped)

    def read(self, count: int) -> dict[str, np.ndarray]:
        """What each of the models in `trainees` makes of the queries.

        Raises:
            NonFiniteError: a model diverged.
        """
        self._hand_over(count)
        found = read_outcomes(self.judge, count, self.queries, self._prepared.pad_id)
        if self.behaviour is not None:
            found[self.behaviour.name] = np.array([self._behaves(i) for i in range(count)])
        for values in found.values():
            if not np.isfinite(values).all():
                raise NonFiniteError(
                    "a retrained model diverged (NaN or Inf). Fine-tune with a lower --learning-rate."
                )
        return found

    def patched(self, ending: Ending, weights: np.ndarray, steps: int) -> dict[str, np.ndarray]:
        """Outcomes after a few steps from where the fine-tune stopped.

        Args:
            ending: where that is.
            weights: models × rows, 0 or 1: the rows that each model is stepped on, all at once.
            steps: how many steps.

        Returns:
            As `outcomes`.
        """
        self.trainees.start([ending.weights] * len(weights))
        self.course.patch(ending, weights, steps)
        return self.read(len(weights))

    def state(self, index: int) -> dict[str, Tensor]:
        """Trained weights of one of the models."""
        return self.trainees.state(index)

    def tokens(self, weights: np.ndarray, seed: int) -> int:
        """Tokens that training on rows of these weights runs, pads counted.

        Args:
            weights: models × rows.
            seed: of the run.
        """
        total = 0
        for batch in self.plan(seed).batches:
            longest = max(len(self.rows[i].ids) for i in batch)
            used = weights[:, list(batch)] != 0
            total += longest * int(used.size if self.whole_batches else used.sum())
        return total

    def seconds_per_token(self) -> float:
        """Seconds that a trained token takes here, from a few steps of as many models as go together."""
        plan = self.plan(self.settings.seed)
        weights = np.ones((self.together, len(self.rows)))
        weights[:, ::2] = 0
        self.trainees.start([plan.initial] * self.together)
        found: list[float] = []
        started = time.perf_counter()
        while len(found) < 2 or (time.perf_counter() - started < _PROBE and len(found) < 10):
            begun = time.perf_counter()
            run: list[int] = []
            self.course.run(plan.batches[:1], plan.rates[:1], weights, plan.seed, run.append)
            found.append((time.perf_counter() - begun) / max(1, sum(run)))
        # the first step warms up kernels and memory, and others may meet a busy machine
        return min(found)

    def _fixed(self, seed: int) -> dict[str, Any]:
        if seed in self._keys:
            return self._keys[seed]
        settings = self.settings.model_dump(mode="json", exclude={"seed", "precision"})
        self._keys[seed] = {
            "version": 1,
            "base": {key: str(value) for key, value in self.base.items()},
            "rows": digest_value([row.digest() for row in self.rows]),
            "settings": settings | {"precision": self.settings.resolved_precision()},
            "plan": self.plan(seed).digest(),
            "seed": seed,
        }
        return self._keys[seed]

    def _prepare(self, seed: int) -> LoadedModel:
        settings = self.settings.model_copy(update={"seed": seed})
        return prepare(self.spec, settings, trust_remote_code=self._trust)

    def _pays(self) -> int:
        plan = self._plans[self.settings.seed]
        lengths = [len(batch) * max(len(self.rows[i].ids) for i in batch) for batch in plan.batches]
        parameters = sum(p.numel() for p in self._prepared.model.parameters())
        tokens = _TOKENS * max(1.0, (_LARGE / parameters) ** 0.5)
        # half of the rows run when half of them are kept
        return int(np.clip(round(2 * tokens / float(np.mean(lengths))), 1, _MOST))

    def _behaves(self, index: int) -> list[float]:
        assert self.behaviour is not None
        self.judge.lines.owner = index
        loaded = LoadedModel(self.judge.model, self._prepared.tokenizer, self.base)
        asked = self.behaviour
        return asked.judge(
            generate(loaded, asked.prompts, asked.max_new_tokens, label="behaviour", quiet=True)
        )

    def _hand_over(self, count: int) -> None:
        if self.judge is not self.trainees:
            states: list[Mapping[str, Tensor]] = [self.trainees.state(i) for i in range(count)]
            self.judge.start(states)
        self.judge.model.eval()


def _trainees(model: Any, settings: FinetuneSettings) -> Trainees:
    return Adapters(model) if settings.mode == "lora" else WholeModel(model)
