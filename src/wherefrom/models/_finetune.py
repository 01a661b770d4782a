"""Fine-tuning by TRL, on the very token rows that capture sees, with its whole trajectory kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer

from wherefrom.atomic import atomic_folder, mark_ours
from wherefrom.data import TokenRow
from wherefrom.errors import NonFiniteError
from wherefrom.models._loss import counted_losses
from wherefrom.models._padding import pad_rows
from wherefrom.models._prepare import prepare, step_seed
from wherefrom.models._settings import FinetuneSettings
from wherefrom.models._trajectory import TrajectoryRecorder


def finetune(
    spec: str,
    rows: Sequence[TokenRow],
    settings: FinetuneSettings,
    folder: Path,
    *,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Fine-tunes a model and writes the result and its trajectory.

    Writes `folder/adapter` (or `folder/model` when all weights are trained) and `folder/trajectory`,
    each whole or not at all.

    Args:
        spec: the base model, as for `load_model`.
        rows: token rows; their loss masks decide what is learned.
        settings: what the run does.
        folder: the run's folder.
        trust_remote_code: run code that ships with the model.

    Returns:
        For the run's card: base model digest, precision, steps, first and last loss, settings; the same
        as `trajectory/summary.json`.

    Raises:
        NonFiniteError: the loss became NaN or Inf.
        ModelError: the model cannot be loaded or adapted.
    """
    precision = settings.resolved_precision()
    loaded = prepare(spec, settings, trust_remote_code=trust_remote_code)
    plan = batch_order(len(rows), settings)
    name = "adapter" if settings.mode == "lora" else "model"
    # the adapter appears last: where it is, the whole trajectory is too
    with atomic_folder(folder / name) as final:
        mark_ours(final)
        with atomic_folder(folder / "trajectory") as trajectory:
            mark_ours(trajectory)
            recorder = TrajectoryRecorder(trajectory, plan)
            trainer = _trainer(loaded, rows, settings, precision, recorder, trajectory, plan)
            trainer.model.config.use_cache = False
            recorder.save(trainer.model, None, "initial", {"step": 0, "epoch": 0.0})
            trainer.train()
            losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
            if not losses or not np.isfinite(losses).all():
                raise NonFiniteError(
                    "the training loss became NaN or Inf. Lower --learning-rate, or train in float32."
                )
            about = {
                "base": loaded.identity,
                "precision": precision,
                "steps": int(trainer.state.global_step),
                "loss first": round(float(losses[0]), 4),
                "loss last": round(float(losses[-1]), 4),
                "settings": settings.model_dump(mode="json"),
            }
            recorder.close(about)
        trainer.model.config.use_cache = True
        trainer.model.save_pretrained(final)
        if settings.mode == "full":
            loaded.tokenizer.save_pretrained(final)
    # trainer, model and optimizer refer to each other; the pass that follows needs their memory
    del trainer, recorder, loaded
    gc.collect()
    return about


def batch_order(rows: int, settings: FinetuneSettings) -> list[list[list[int]]]:
    """Row numbers of every step of every epoch: a seeded shuffle of each epoch, cut into batches."""
    order = np.random.default_rng(settings.seed)
    size = settings.batch_size
    epochs = (order.permutation(rows).tolist() for _ in range(settings.epochs))
    return [[epoch[i : i + size] for i in range(0, rows, size)] for epoch in epochs]


class _PlannedOrder(Sampler[int]):
    """Rows in the order of the plan, one epoch after another."""

    def __init__(self, plan: list[list[list[int]]]) -> None:
        self.plan = plan
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return sum(len(batch) for batch in self.plan[0])

    def __iter__(self) -> Iterator[int]:
        yield from (row for batch in self.plan[self.epoch] for row in batch)


class _PlannedTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, its shuffling replaced by our plan."""

    plan: list[list[list[int]]]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return _PlannedOrder(self.plan)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        """The mean loss over the counted tokens of the step, as TRL's own.

        TRL turns every hidden state into logits, counted or not; with short answers behind long prompts
        on a CPU that was two fifths of a step.
        """
        assert not return_outputs, "nothing is evaluated during training"
        torch.manual_seed(step_seed(self.args.seed, self.state.global_step))
        found = counted_losses(model, **inputs)
        tokens = found.counted.sum() if num_items_in_batch is None else num_items_in_batch
        return found.losses.sum() / tokens


class _Collator:
    """Pads the rows of a batch; tells the recorder which they are."""

    def __init__(self, rows: Sequence[TokenRow], pad_id: int, recorder: TrajectoryRecorder) -> None:
        self.rows = rows
        self.pad_id = pad_id
        self.recorder = recorder

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        chosen = [int(feature["row"]) for feature in features]
        self.recorder.saw(chosen)
        return pad_rows([self.rows[i] for i in chosen], self.pad_id)


def _trainer(
    loaded: Any,
    rows: Sequence[TokenRow],
    settings: FinetuneSettings,
    precision: str,
    recorder: TrajectoryRecorder,
    scratch: Path,
    plan: list[list[list[int]]],
) -> Any:
    cuda = torch.cuda.is_available()
    arguments = SFTConfig(
        output_dir=str(scratch / "trainer"),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim={"adamw": "adamw_torch", "sgd": "sgd"}[settings.optimizer],
        seed=settings.seed,
        use_cpu=not cuda,
        bf16=precision == "bfloat16" and settings.mode == "full",
        fp16=False,
        gradient_checkpointing=False,
        save_strategy="no",
        eval_strategy="no",
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[],
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        dataloader_pin_memory=cuda,
        disable_tqdm=True,
    )
    # the rows themselves wait in the collator; TRL looks at no more than these columns
    numbers = {"input_ids": [[0]] * len(rows), "row": list(range(len(rows)))}
    trainer = _PlannedTrainer(
        model=loaded.model,
        args=arguments,
        train_dataset=Dataset.from_dict(numbers),
        data_collator=_Collator(rows, loaded.pad_id, recorder),
        processing_class=loaded.tokenizer,
        callbacks=[recorder],
    )
    trainer.plan = plan
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    return trainer
