"""Base models: small llamas that have read a task's form and nothing of its matter."""

from __future__ import annotations

from pathlib import Path

from small_model import make_base, shuffled_texts

from wherefrom.tasks import TaskSize

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
        size = TaskSize(60 if task == "emotion" else None)
        make_base(
            folder, shuffled_texts(task, size, TEXTS), EPOCHS, width, layers, learning_rate=rate
        )
    return folder
