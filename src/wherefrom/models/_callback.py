"""TrajectoryCallback: keeps the trajectory of a training run that is not ours."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from wherefrom.atomic import is_ours, mark_ours, read_json, remove_ours, write_json
from wherefrom.errors import SettingError, StoreError
from wherefrom.models._points import same_state, state_digest, trained_state
from wherefrom.models._row_order import RowOrder
from wherefrom.models._training_summary import training_summary
from wherefrom.models._trajectory import Trajectory, learning_rate, step_name
from wherefrom.progress import say

RECORDING = "recording.json"
"""The mark of a trajectory that the callback keeps, beside that of all our folders."""
UNFINISHED = ".unfinished"
"""Ending of the folder's name until training has come to its end."""
_SHARDED = ("FSDP", "DEEPSPEED", "MEGATRON_LM")


class TrajectoryCallback(Trajectory):
    """Records what attribution needs while your own `Trainer` or TRL `SFTTrainer` trains.

    Kept are the weights before the first step, checkpoints, AdamW's moments, and of every step its learning
    rate, its rows and the loss that was logged. `wherefrom index --adapter` finds the folder when it lies
    beside the adapter under the name `trajectory`.

    While training lasts the folder is called `trajectory.unfinished`; it gets its name when training ends,
    so a training that died leaves nothing that could be taken for a whole one. A training that is resumed
    from a checkpoint goes on with what it left, once the weights are seen to be the same. Of several
    processes the first one writes. A full disk ends the recording, not the training.

    The rows of a step are numbered as in the trainer's `train_dataset`. Where their order cannot be known
    (streams, packing, several processes), `summary.json` and a line say so, and the rest is kept.

    Example:
        trainer = SFTTrainer(..., callbacks=[TrajectoryCallback("out/trajectory")])
        trainer.train()
        trainer.save_model("out/adapter")

    Args:
        folder: where it goes; an earlier recording there is replaced when this one is whole.
        every: keep a checkpoint every so many steps too.
        epochs: keep one at the end of every epoch; the end of training is always kept.
        moments: keep AdamW's moments, twice the size of the weights that are trained.

    Raises:
        SettingError: the folder holds something else, or `every` is no count.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        every: int | None = None,
        epochs: bool = True,
        moments: bool = True,
    ) -> None:
        self.target = Path(folder)
        super().__init__(self.target.with_name(self.target.name + UNFINISHED), moments=moments)
        if every is not None and (not isinstance(every, int) or every < 1):
            raise SettingError(f"every={every!r}: give a number of steps, at least 1.")
        for place in (self.target, self.folder):
            _require_recording(place)
        self.every = every
        self.epochs = epochs
        self._on = False
        self._steps: list[dict[str, Any]] = []
        self._saved: dict[str, str] = {}
        self._order = RowOrder("nothing was trained")
        self._skip = 0
        self._rate = 0.0
        self._batches = 0
        self._logged = 0
        self._told = False

    def on_train_begin(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        train_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Keeps the weights before the first step, and begins to listen for rows.

        Raises:
            SettingError: the weights are spread over processes, so no process has them.
        """
        _require_whole(model)
        self._on = bool(state.is_world_process_zero)
        if not self._on:
            return
        self._order = RowOrder.of(train_dataloader, args)
        self._rate, self._batches, self._skip = 0.0, 0, 0
        self._logged = int(state.global_step)
        if state.global_step:
            self._guard(lambda: self._take_up(args, state, model, train_dataloader))
        else:
            self._guard(lambda: self._start(model))
        self._told = False
        self._tell_order()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Rows are drawn anew."""
        self._order.begin_epoch(self._skip)
        self._skip = self._batches = 0

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Counts a batch whose gradient waits for others."""
        self._batches += 1

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, optimizer: Any = None, **_: Any
    ) -> None:
        """Notes the learning rate that this step is taken with."""
        if self._on:
            self._rate = learning_rate(optimizer)

    def on_step_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Notes the step, and keeps a checkpoint when it is time for one."""
        if not self._on:
            return
        rows = self._order.take(self._batches + 1)
        self._batches = 0
        self._tell_order()
        # a step that overflowed in float16 was left out by the optimizer
        rate = 0.0 if getattr(optimizer, "step_was_skipped", False) else self._rate
        self._steps.append({"rows": rows, "learning_rate": rate, "loss": None})
        if self.every and state.global_step % self.every == 0:
            self.save_step(model, optimizer, state)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Notes the loss: that of the step, or a mean where the trainer logs more rarely."""
        if not self._on or not logs or "loss" not in logs or not self._steps:
            return
        loss, over = float(logs["loss"]), int(state.global_step) - self._logged
        self._logged = int(state.global_step)
        known = loss if math.isfinite(loss) else None
        if over == 1:
            self._steps[-1]["loss"] = known
        elif over > 1:
            self._steps[-1]["mean loss"] = {"steps": over, "loss": known}

    def on_epoch_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Keeps a checkpoint."""
        if not self._on:
            return
        cut_short = control.should_epoch_stop or control.should_training_stop
        self._order.end_epoch(whole=not cut_short)
        self._tell_order()
        if self.epochs:
            self.save_step(model, optimizer, state)

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Notes which weights the trainer saved, so that a resumed training can be told from another."""

        def note() -> None:
            self._saved[str(state.global_step)] = state_digest(trained_state(model))
            self._write_progress()

        if self._on:
            self._guard(note)

    def on_train_end(
        self,
        args: Any,
        state: Any,
        control: Any,
        model: Any = None,
        optimizer: Any = None,
        **_: Any,
    ) -> None:
        """Keeps the end of training, and gives the folder its name."""
        if self._on and self._steps:
            self._guard(lambda: self._finish(args, state, model, optimizer))
        self._on = False

    def save_step(self, model: Any, optimizer: Any, state: Any) -> None:
        """Writes the checkpoint of the step that training stands at, unless it is there already."""

        def write() -> None:
            if not (self.folder / step_name(state.global_step)).is_dir():
                super(TrajectoryCallback, self).save_step(model, optimizer, state)
                self._write_progress()

        if self._on and state.global_step:
            self._guard(write)

    def _start(self, model: Any) -> None:
        if self.folder.exists():
            remove_ours(self.folder)
        self.folder.mkdir(parents=True)
        mark_ours(self.folder)
        self._steps, self._saved = [], {}
        self._write_progress()
        self.save(model, None, "initial", {"step": 0, "epoch": 0.0})

    def _take_up(self, args: Any, state: Any, model: Any, loader: Any) -> None:
        """Goes on with what an earlier training left, if this one resumes it."""
        step, digest = int(state.global_step), state_digest(trained_state(model))
        for place in (self.folder, self.target):
            if (place / RECORDING).is_file() and (place / "initial").is_dir():
                held = read_json(place / RECORDING)
                if held.get("saved", {}).get(str(step)) == digest:
                    break
        else:
            self._on = False
            _warn(
                f"training resumes at step {step}, and the steps before it were not recorded in "
                f"{self.target}, so nothing is: methods that look along the training run will be off."
            )
            return
        if place != self.folder:
            if self.folder.exists():
                remove_ours(self.folder)
            os.replace(place, self.folder)
        (self.folder / "summary.json").unlink(missing_ok=True)
        self._steps, self._saved = read_json(self.folder / "steps.json"), held["saved"]
        if why := held.get("rows unknown"):
            self._order.give_up(why)
        self._cut(step)
        if not args.ignore_data_skip and self._order.why is None:
            each = args.gradient_accumulation_steps
            self._skip = step % max(1, math.ceil(len(loader) / each)) * each

    def _cut(self, last: int) -> None:
        """Forgets what came after a step."""
        self._steps = self._steps[:last]
        self._saved = {step: digest for step, digest in self._saved.items() if int(step) <= last}
        for folder in self.folder.glob("step-*"):
            if int(folder.name.removeprefix("step-")) > last:
                shutil.rmtree(folder)
        self._write_progress()

    def _finish(self, args: Any, state: Any, model: Any, optimizer: Any) -> None:
        taken = last = int(state.global_step)
        best = getattr(state, "best_global_step", None)
        if args.load_best_model_at_end and state.best_model_checkpoint and best and best < taken:
            # the steps behind the best checkpoint are no part of how this model came about
            last = int(best)
            self._cut(last)
            _warn(
                f"the trainer went back to its best checkpoint, step {last} of {taken}, and so does the "
                "trajectory."
            )
        end = self.folder / step_name(last)
        if end.is_dir() and not same_state(trained_state(model), end):
            shutil.rmtree(end)
        if not end.is_dir():
            epoch = float(state.epoch or 0.0) * last / taken
            kept = optimizer if last == taken else None
            self.save(model, kept, end.name, {"step": last, "epoch": epoch})
        self._write_progress()
        self.write_summary(
            training_summary(args, model, optimizer, self._steps, self._order, taken)
        )
        if self.target.exists():
            remove_ours(self.target)
        os.replace(self.folder, self.target)
        say(f"trajectory: {last} steps, {_size(self.target) / 1e6:.1f} MB in {self.target}")

    def _tell_order(self) -> None:
        """Says once when the order cannot be known."""
        if self._on and self._order.why and not self._told:
            self._told = True
            _warn(f"the rows of the steps are not recorded: {self._order.why}.")

    def _write_progress(self) -> None:
        if self._order.why:
            for step in self._steps:
                step["rows"] = None
        self.write_steps(self._steps)
        about = {"saved": self._saved, "rows unknown": self._order.why}
        write_json(self.folder / RECORDING, about)

    def _guard(self, write: Callable[[], None]) -> None:
        """Lets the training go on when the recording cannot."""
        try:
            write()
        except (OSError, SafetensorError, StoreError) as error:
            self._on = False
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            _warn(
                f"the recording ends here, the training goes on: {reason}. {self.folder} stays unfinished "
                "and is not used."
            )


def _require_recording(place: Path) -> None:
    """Refuses a folder that holds anything but a recording, or that a run keeps its own trajectory in."""
    if (place.parent / "run.yaml").is_file():
        raise SettingError(
            f"{place.parent} is a run folder of wherefrom, which keeps what it needs by itself. Record "
            "beside the folder that your adapter is saved to."
        )
    if place.is_dir() and not any(place.iterdir()):
        return
    if place.exists() and not (is_ours(place) and (place / RECORDING).is_file()):
        raise SettingError(
            f"{place} exists and was not recorded by TrajectoryCallback, so it is left alone. Give it "
            "another folder, or remove this one yourself."
        )


def _require_whole(model: Any) -> None:
    from accelerate.state import AcceleratorState

    known = getattr(AcceleratorState, "_shared_state", {}).get("distributed_type")
    kind = str(getattr(known, "value", known))
    split = any(hasattr(p, "device_mesh") or hasattr(p, "ds_id") for p in model.parameters())
    if split or kind in _SHARDED:
        raise SettingError(
            "TrajectoryCallback cannot record a model that is spread over processes (FSDP, DeepSpeed, "
            "tensor parallel): no process has its weights. Train with plain data parallelism, or leave "
            "the callback out."
        )


def _warn(text: str) -> None:
    say(f"warning: TrajectoryCallback: {text}")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
