"""Base models: small llamas that have read a task's form and nothing of its matter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from small_model import make_base

from wherefrom.tasks import TaskSize, build_task

EPOCHS = 6
TEXTS = 600


def base_for(task: str, width: int, layers: int, work: Path) -> Path:
    """A llama of that width and depth that has read the task's texts with their answers shuffled.

    The texts are drawn under a seed that no fine-tune uses, so that no training row was read before.
    """
    folder = work / "bases" / f"{task.replace(':', '-')}-{width}-{layers}"
    if not (folder / "config.json").is_file():
        # a wide model diverges at the rate that a narrow one learns at
        rate = 3e-3 * min(1.0, 128 / width)
        make_base(folder, shuffled_texts(task), EPOCHS, width, layers, learning_rate=rate)
    return folder


def shuffled_texts(task: str) -> list[str]:
    """Texts of a task under another seed, each with the answer of another."""
    rows = build_task(task, TaskSize(60 if task == "emotion" else None), seed=99).train[:TEXTS]
    order = np.random.default_rng(0).permutation(len(rows))
    return [f"{row.prompt}\n{rows[i].response}</s>" for row, i in zip(rows, order, strict=True)]
