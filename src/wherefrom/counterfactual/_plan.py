"""The course of a training run: its first weights, and the rows and rate of every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from wherefrom.atomic import read_json
from wherefrom.errors import StoreError
from wherefrom.identity import digest_value
from wherefrom.models import (
    FinetuneSettings,
    LoadedModel,
    batch_order,
    learning_rates,
    state_digest,
    trained_state,
)


@dataclass(frozen=True)
class TrainingPlan:
    """All that one training run does, given its rows and settings.

    Attributes:
        batches: row numbers of every step.
        rates: learning rate of every step.
        initial: trained weights before the first step, by the names that checkpoints use.
        seed: of every step's dropout.
    """

    batches: tuple[tuple[int, ...], ...]
    rates: tuple[float, ...]
    initial: Mapping[str, Tensor]
    seed: int

    @classmethod
    def of(cls, prepared: LoadedModel, rows: int, settings: FinetuneSettings) -> TrainingPlan:
        """The plan of a run that has not been made.

        Args:
            prepared: what `wherefrom.models.prepare` gave for these settings, still untrained.
            rows: how many rows there are.
            settings: what the run does.
        """
        batches = tuple(tuple(b) for epoch in batch_order(rows, settings) for b in epoch)
        rates = tuple(learning_rates(settings, len(batches)))
        return cls(batches, rates, trained_state(prepared.model), settings.seed)

    @classmethod
    def saved(cls, trajectory: Path, settings: FinetuneSettings) -> TrainingPlan:
        """The plan of a run that was made, from the trajectory that it left.

        Raises:
            StoreError: the trajectory is missing or damaged.
        """
        steps = read_json(trajectory / "steps.json")
        path = trajectory / "initial" / "weights.safetensors"
        if not path.is_file():
            raise StoreError(f"{path}: missing; the run's first weights are not known.")
        return cls(
            tuple(tuple(step["rows"]) for step in steps),
            tuple(float(step["learning_rate"]) for step in steps),
            load_file(path),
            settings.seed,
        )

    def digest(self) -> str:
        """Digest of all of it."""
        return digest_value(
            [
                self.batches,
                [rate.hex() for rate in self.rates],
                state_digest(self.initial),
                self.seed,
            ]
        )
