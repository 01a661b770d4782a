"""TRL's trainer, following our batch plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers import PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer

from wherefrom.data import TokenRow
from wherefrom.models._loss import counted_losses
from wherefrom.models._padding import pad_rows
from wherefrom.models._prepare import step_seed
from wherefrom.models._settings import FinetuneSettings
from wherefrom.models._trajectory import TrajectoryRecorder


def make_trainer(
    loaded: Any,
    rows: Sequence[TokenRow],
    settings: FinetuneSettings,
    precision: str,
    recorder: TrajectoryRecorder,
    scratch: Path,
    plan: list[list[list[int]]],
) -> Any:
    """A trainer of a prepared model that sees the rows in the order of a plan, and tells a recorder."""
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
        # a model on several devices has its losses on the last; the trainer wants them on the first
        device = self.args.device
        return found.losses.sum().to(device) / torch.as_tensor(tokens, device=device)


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
