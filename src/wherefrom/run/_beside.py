"""The trajectory beside a model from elsewhere: where it would lie, and whether it is the model's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.atomic import read_json
from wherefrom.models import read_checkpoints, same_weights
from wherefrom.run._config import RunConfig

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def trajectory_beside(config: RunConfig, run: Path) -> Path:
    """Where the trajectory of a run's model lies: in the run, or beside what was trained elsewhere.

    Args:
        config: what the run is made from.
        run: the run's folder.
    """
    if config.adapter is not None:
        return Path(config.adapter).parent / "trajectory"
    if config.finetune is None and Path(config.model).is_dir():
        return Path(config.model).parent / "trajectory"
    return run / "trajectory"


def their_trajectory(run: Run) -> Path | None:
    """A run's trajectory; None where it is not that of the model, which the person is told once.

    A fine-tune by wherefrom leaves model and trajectory together. Beside a model from elsewhere it may be
    another training's: training that went on, weights that were merged or averaged, a folder used twice.

    Raises:
        StoreError: the trajectory is damaged.
    """
    place = run.trajectory
    if run.config.finetune is not None or not place.is_dir():
        return place
    saved = read_checkpoints(place)
    if saved and same_weights(run.model, saved[-1].folder):
        return place
    where = (
        f"ends at {saved[-1].name} with other weights than this model's" if saved else "is empty"
    )
    note = (
        f"{place} {where}, so it is of another training and is not used: methods that look along the "
        "training run are off."
    )
    if note not in run.card.entries.get("notes", []):
        run.warn(note)
    return None


def what_is_beside(trajectory: Path, rows: int) -> list[str]:
    """Lines for people who make a run of an adapter or a model from elsewhere.

    Args:
        trajectory: where their trajectory would lie.
        rows: how many training rows the run has.

    Raises:
        StoreError: the trajectory is damaged.
    """
    if not trajectory.is_dir():
        unfinished = trajectory.with_name(f"{trajectory.name}.unfinished").is_dir()
        why = " (one lies there that did not come to its end)" if unfinished else ""
        return [
            f"no trajectory beside this model{why}: methods that need checkpoints or optimizer state are "
            "off, all others are not."
        ]
    known = read_json(trajectory / "summary.json").get("rows")
    trained = known.get("in it") if isinstance(known, dict) else None
    if trained is not None and trained != rows:
        return [
            f"warning: the training that {trajectory} was recorded of saw {trained} rows, this data has "
            f"{rows}: rows that it did not train on, or that were joined or left out, cannot be told."
        ]
    return []
