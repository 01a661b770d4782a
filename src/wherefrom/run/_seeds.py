"""Other seeds: a run's fine-tune done again with other batches, dropout and first weights, and scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherefrom.errors import SettingError
from wherefrom.models import FinetuneSettings
from wherefrom.scores import Scores

if TYPE_CHECKING:
    from wherefrom.run._run import Run

FOLDER = "seeds"


def require_finetune(run: Run) -> FinetuneSettings:
    """The settings that a run was fine-tuned with.

    Raises:
        SettingError: nobody knows how the model was fine-tuned.
    """
    if run.config.finetune is None:
        raise SettingError(
            f"{run.path}: was not fine-tuned by wherefrom, so it cannot be done again under other seeds."
        )
    return run.config.finetune


def scores_of_seeds(run: Run, method: str, count: int) -> list[Scores]:
    """Scores of a method for fine-tunes of the same rows under other seeds.

    Each is a run of its own under `seeds/` in the run's folder; what is finished there is not done again.

    Args:
        run: fine-tuned by wherefrom.
        method: its spec.
        count: how many other seeds.

    Raises:
        SettingError: nobody knows how the model was fine-tuned.
    """
    if not count:
        return []
    settings = require_finetune(run)
    found = []
    for seed in range(settings.seed + 1, settings.seed + 1 + count):
        changes = {
            "finetune": settings.model_copy(update={"seed": seed}),
            "methods": (method,),
            "also": (),
            "budget": None,
        }
        other = run.create(
            run.path / FOLDER / f"seed-{seed:03d}", run.config.model_copy(update=changes)
        )
        other.finetune()
        other.index()
        (scores,) = other.score().values()
        found.append(scores)
    return found
