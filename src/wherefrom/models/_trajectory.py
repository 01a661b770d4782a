"""Trajectory: what attribution needs to know of a training run, kept from its first step."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from transformers import TrainerCallback

from wherefrom.atomic import atomic_folder, write_json
from wherefrom.errors import WherefromError
from wherefrom.models._points import WEIGHTS, trained_state
from wherefrom.progress import track

_MOMENTS = ("exp_avg", "exp_avg_sq")


class Trajectory(TrainerCallback):  # type: ignore[misc]
    """A folder that a training run is kept in; what is common to our fine-tunes and to other people's.

    Layout, all of it safetensors and JSON:
        initial/               weights before the first step
        step-000010/           weights.safetensors, optimizer.safetensors, state.json
        steps.json             for every step its rows (numbers in the data set), learning rate and loss
        summary.json           what ran, first and last loss

    Args:
        folder: where it goes; must exist.
        moments: keep AdamW's moments with every checkpoint.
    """

    def __init__(self, folder: Path, *, moments: bool = True) -> None:
        self.folder = folder
        self.moments = moments

    def on_epoch_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Saves a checkpoint."""
        self.save_step(model, optimizer, state)

    def save_step(self, model: Any, optimizer: Any, state: Any) -> None:
        """Writes the checkpoint of the step that a trainer's state stands at."""
        step = int(state.global_step)
        about = {"step": step, "epoch": float(state.epoch or 0.0)}
        self.save(model, optimizer, step_name(step), about)

    def save(self, model: Any, optimizer: Any, name: str, about: dict[str, Any]) -> None:
        """Writes one checkpoint: trained weights, optimizer moments by parameter name, and its place."""
        with atomic_folder(self.folder / name) as folder:
            save_file(trained_state(model), folder / WEIGHTS)
            if optimizer is not None and self.moments and (held := moments_of(model, optimizer)):
                save_file(held, folder / "optimizer.safetensors")
            write_json(folder / "state.json", about)

    def write_steps(self, steps: Sequence[dict[str, Any]]) -> None:
        """Writes the rows, learning rate and loss of every step."""
        write_json(self.folder / "steps.json", list(steps))

    def write_summary(self, about: dict[str, Any]) -> None:
        """Writes what ran, and how it ended."""
        write_json(self.folder / "summary.json", about)


class TrajectoryRecorder(Trajectory):
    """The trajectory of a fine-tune of ours: a checkpoint an epoch, rows as they were planned.

    Args:
        folder: where it goes; must exist.
        plan: the rows of each step of each epoch, as they should come.
    """

    def __init__(self, folder: Path, plan: list[list[list[int]]]) -> None:
        super().__init__(folder)
        self.planned = [batch for epoch in plan for batch in epoch]
        self.seen: list[list[int]] = []
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._bar: Any = None
        self._advance: Any = None

    def saw(self, rows: list[int]) -> None:
        """The collator's word of which rows make up the next batch."""
        self.seen.append(rows)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Opens the progress bar."""
        self._bar = track("fine-tune", int(state.max_steps))
        self._advance = self._bar.__enter__()

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any
    ) -> None:
        """Notes the learning rate that this step is taken with."""
        self.rates.append(learning_rate(optimizer))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Moves the bar."""
        self._advance(1)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Notes the loss of the step."""
        if logs and "loss" in logs:
            self.losses.append(float(logs["loss"]))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Closes the progress bar."""
        self._bar.__exit__(None, None, None)

    def close(self, about: dict[str, Any]) -> None:
        """Writes the steps and a summary, and checks that the rows came as planned.

        Raises:
            WherefromError: the trainer fed other rows than planned; replaying the run would be wrong.
        """
        if self.seen[: len(self.planned)] != self.planned:
            raise WherefromError("the trainer fed its rows in another order than the batch plan's.")
        self.write_steps(
            [
                {"rows": rows, "learning_rate": rate, "loss": loss}
                for rows, rate, loss in zip(self.planned, self.rates, self.losses, strict=False)
            ]
        )
        self.write_summary(about)
        shutil.rmtree(self.folder / "trainer", ignore_errors=True)


def step_name(step: int) -> str:
    """Name of a step's checkpoint.

    Example:
        >>> step_name(10)
        'step-000010'
    """
    return f"step-{step:06d}"


def learning_rate(optimizer: Any) -> float:
    """The learning rate that an optimizer's next step is taken with."""
    return float(optimizer.param_groups[0]["lr"])


def moments_of(model: Any, optimizer: Any) -> dict[str, Any]:
    """AdamW's moments by parameter name, on the CPU; empty where the optimizer keeps none."""
    names = {id(p): n for n, p in model.named_parameters()}
    return {
        f"{names[id(p)]}.{key}": value.detach().cpu().contiguous()
        for p, held in getattr(optimizer, "optimizer", optimizer).state.items()
        for key, value in held.items()
        if key in _MOMENTS and id(p) in names
    }
