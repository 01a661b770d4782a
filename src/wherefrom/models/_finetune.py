"""Fine-tuning by TRL, on the very token rows that capture sees, with its whole trajectory kept."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wherefrom.atomic import atomic_folder, mark_ours
from wherefrom.data import TokenRow
from wherefrom.errors import NonFiniteError
from wherefrom.models._placement import DeviceMap
from wherefrom.models._prepare import prepare
from wherefrom.models._quantize import Quantize
from wherefrom.models._settings import FinetuneSettings


def finetune(
    spec: str,
    rows: Sequence[TokenRow],
    settings: FinetuneSettings,
    folder: Path,
    *,
    device_map: DeviceMap | None = None,
    quantize: Quantize | None = None,
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
        device_map: as for `load_model`.
        quantize: as for `load_model`; for an adapter alone.
        trust_remote_code: run code that ships with the model.

    Returns:
        For the run's card: base model digest, precision, steps, first and last loss, settings; the same
        as `trajectory/summary.json`.

    Raises:
        NonFiniteError: the loss became NaN or Inf.
        ModelError: the model cannot be loaded or adapted.
        SettingError: all weights were to be trained and quantised too.
    """
    # what trains is slow to import, and a pass does not need it
    from wherefrom.models._trainer import make_trainer
    from wherefrom.models._trajectory import TrajectoryRecorder

    precision = settings.resolved_precision()
    loaded = prepare(
        spec,
        settings,
        device_map=device_map,
        quantize=quantize,
        trust_remote_code=trust_remote_code,
    )
    plan = batch_order(len(rows), settings)
    name = "adapter" if settings.mode == "lora" else "model"
    # the adapter appears last: where it is, the whole trajectory is too
    with atomic_folder(folder / name) as final:
        mark_ours(final)
        with atomic_folder(folder / "trajectory") as trajectory:
            mark_ours(trajectory)
            recorder = TrajectoryRecorder(trajectory, plan)
            trainer = make_trainer(loaded, rows, settings, precision, recorder, trajectory, plan)
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
