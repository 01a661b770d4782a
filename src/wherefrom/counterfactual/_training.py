"""Training trainees along a plan, each on its own weighting of the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from wherefrom.counterfactual._trainees import Trainees
from wherefrom.data import TokenRow
from wherefrom.errors import StoreError
from wherefrom.models import (
    FinetuneSettings,
    clean_name,
    counted_losses,
    pad_rows,
    read_checkpoints,
    step_seed,
)

_SECOND = ".exp_avg_sq"
_BETA2, _EPSILON = 0.999, 1e-8
"""AdamW's, as the trainer leaves them."""


@dataclass(frozen=True)
class Ending:
    """Where a fine-tune stopped.

    Attributes:
        weights: trained weights, by the names that checkpoints use.
        second: AdamW's second moment of them; empty after SGD.
        steps: how many steps were taken.
        rate: mean learning rate of the last epoch.
    """

    weights: Mapping[str, torch.Tensor]
    second: Mapping[str, torch.Tensor]
    steps: int
    rate: float

    @classmethod
    def saved(cls, trajectory: Path) -> Ending:
        """That of a run that was made.

        Raises:
            StoreError: the trajectory holds no checkpoint.
        """
        saved = read_checkpoints(trajectory)
        if not saved:
            raise StoreError(f"{trajectory}: holds no checkpoint.")
        last = saved[-1]
        weights = load_file(last.folder / "weights.safetensors")
        path = last.folder / "optimizer.safetensors"
        kept = load_file(path) if path.is_file() else {}
        seconds = {
            clean_name(name.removesuffix(_SECOND)): value
            for name, value in kept.items()
            if name.endswith(_SECOND)
        }
        second = {name: seconds[clean_name(name)] for name in weights} if seconds else {}
        return cls(weights, second, last.step, last.rate)


class Course:
    """A training run's steps over rows, for trainees that weigh the rows differently.

    A row of weight 0 stays in its batch: the batch's loss is still divided by all its counted tokens, and
    dropout falls on the others as it did. It is not run, though, since it adds nothing.

    Args:
        trainees: what is trained.
        rows: training rows.
        settings: of the fine-tune.
        pad_id: for pads.
        whole_batches: run rows of weight 0 too, for models whose dropout no plan reaches.
    """

    def __init__(
        self,
        trainees: Trainees,
        rows: Sequence[TokenRow],
        settings: FinetuneSettings,
        pad_id: int,
        *,
        whole_batches: bool = False,
    ) -> None:
        self.trainees = trainees
        self.rows = rows
        self.settings = settings
        self.pad_id = pad_id
        self.whole_batches = whole_batches
        self.device = next(trainees.model.parameters()).device

    def optimizer(self) -> torch.optim.Optimizer:
        """The fine-tune's optimizer over the trainees as they are, its state empty."""
        groups = self.trainees.groups(self.settings.weight_decay)
        if self.settings.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=self.settings.learning_rate)
        return torch.optim.AdamW(groups, lr=self.settings.learning_rate)

    def run(
        self,
        batches: Sequence[Sequence[int]],
        rates: Sequence[float],
        weights: np.ndarray,
        seed: int,
        stepped: Callable[[int], None] = lambda tokens: None,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """Takes every step.

        Args:
            batches: row numbers of each step.
            rates: learning rate of each step.
            weights: trainees × rows, each row's weight in the loss; 0 leaves it out.
            seed: of the steps' dropout.
            stepped: told after each step how many tokens were run.
            optimizer: with its state; a fresh one when None.
        """
        optimizer = optimizer or self.optimizer()
        self.trainees.model.train()
        for step, (rows, rate) in enumerate(zip(batches, rates, strict=True)):
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(step_seed(seed, step))
            tokens = self._gradients(rows, weights[:, list(rows)])
            if self.settings.max_grad_norm > 0:
                self.trainees.clip(self.settings.max_grad_norm)
            optimizer.step()
            stepped(tokens)
        self.trainees.model.eval()

    def patch(self, ending: Ending, weights: np.ndarray, steps: int) -> None:
        """Steps down the mean loss of a few rows, without momentum or dropout.

        Args:
            ending: where the trainees stand; its second moment and rate scale the steps.
            weights: trainees × rows, 1 on the rows that each is stepped on.
            steps: how many.
        """
        self.trainees.model.eval()
        rows = np.flatnonzero(weights.any(0)).tolist()
        counted = np.array([self.rows[i].loss_mask.sum() for i in rows], dtype=np.float64)
        used = weights[:, rows]
        # each trainee's own mean, where a batch's loss is divided by the tokens of the whole batch
        used = used * counted.sum() / np.maximum(1, used @ counted)[:, None]
        scales = self.trainees.scales(_roots(ending)) if ending.second else None
        for _ in range(steps):
            self._gradients(rows, used)
            with torch.no_grad():
                for index, parameter in enumerate(self.trainees.parameters()):
                    assert parameter.grad is not None
                    step = parameter.grad if scales is None else parameter.grad / scales[index]
                    parameter.sub_(ending.rate * step)

    def _gradients(self, rows: Sequence[int], weights: np.ndarray) -> int:
        for parameter in self.trainees.parameters():
            # zeros, not None: a step without rows still moves by its momentum and decays
            parameter.grad = torch.zeros_like(parameter)
        batch = [self.rows[i] for i in rows]
        counted = np.array([row.loss_mask.sum() for row in batch], dtype=np.float64)
        owner, place = np.nonzero(np.ones_like(weights) if self.whole_batches else weights)
        if not len(owner):
            return 0
        padded = pad_rows(batch, self.pad_id, self.device)
        at = torch.from_numpy(place).to(self.device)
        self.trainees.lines.owner = torch.from_numpy(owner).to(self.device)
        self.trainees.lines.place = at
        self.trainees.lines.rows = len(batch)
        share = torch.from_numpy(weights[owner, place] / counted.sum()).to(self.device)
        with self._precision():
            found = counted_losses(self.trainees.model, **{k: v[at] for k, v in padded.items()})
        loss = (found.losses.sum(1) * share.to(found.losses.dtype)).sum()
        torch.autograd.backward(loss)
        return int(padded["input_ids"].shape[1]) * len(owner)

    def _precision(self) -> Any:
        if self.settings.mode == "full" and self.settings.resolved_precision() == "bfloat16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()


def _roots(ending: Ending) -> dict[str, torch.Tensor]:
    corrected = 1 - _BETA2**ending.steps
    return {name: (v / corrected).sqrt() + _EPSILON for name, v in ending.second.items()}
