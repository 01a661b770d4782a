"""Stepping an adapter from elsewhere: what its recorded training says of how to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from wherefrom.atomic import read_json
from wherefrom.counterfactual import Asked, Ending, OutcomeCache, Retrainer, Workshop
from wherefrom.data import Example, Renderer
from wherefrom.errors import ModelError, SettingError
from wherefrom.models import FinetuneSettings
from wherefrom.run._beside import their_trajectory
from wherefrom.run._finetune_stage import require_plain_base

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "use_dora": (False, None),
    "use_rslora": (False, None),
    "lora_bias": (False, None),
    "bias": ("none", None),
    "modules_to_save": (None, []),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layers_to_transform": (None, []),
}
"""What a plain LoRA adapter's config says."""


def patching(run: Run, queries: Sequence[Example]) -> tuple[Asked, Ending]:
    """Makes ready to step a run's adapter from where its training stopped, and ask it queries.

    Needed are the adapter's own trajectory, which `TrajectoryCallback` or a fine-tune by wherefrom leaves
    beside it, for its learning rate and second moments, and a plain LoRA adapter.

    Args:
        run: of an adapter from elsewhere.
        queries: whose responses are asked.

    Raises:
        SettingError: it is another kind of run, or nothing says how the training went.
        ModelError: the adapter is of a kind that cannot be stepped.
    """
    if run.config.adapter is None:
        raise SettingError("only LoRA adapters from elsewhere can be stepped")
    require_plain_base(run)
    trajectory = their_trajectory(run)
    if trajectory is None or not trajectory.is_dir():
        raise SettingError(f"no trajectory of this adapter lies at {run.trajectory}")
    settings = _settings(Path(run.config.adapter), trajectory)
    renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
    retrainer = Retrainer(
        run.config.model,
        renderer.render_all(run.train),
        renderer.render_all(queries),
        settings,
        trust_remote_code=run.config.trust_remote_code,
    )
    ending = Ending.saved(trajectory)
    if retrainer.state(0).keys() != ending.weights.keys():
        raise ModelError(f"{trajectory} holds other weights than a plain LoRA adapter's")
    asked = Asked(
        Workshop(retrainer, OutcomeCache(run.path / "counterfactual" / "cache")),
        [settings.seed],
        "log_probability",
        tuple(query.id for query in queries),
        tuple(row.id for row in run.train),
    )
    return asked, ending


def _settings(adapter: Path, trajectory: Path) -> FinetuneSettings:
    held = read_json(adapter / "adapter_config.json")
    for name, plain in _PLAIN.items():
        if held.get(name) not in plain:
            raise ModelError(f"{adapter} is no plain LoRA adapter ({name}: {held[name]})")
    targets = held.get("target_modules")
    known = read_json(trajectory / "summary.json").get("settings", {})
    if not isinstance(targets, list):
        raise ModelError(f"{adapter} names its layers by an expression ({targets})")
    try:
        return FinetuneSettings.model_validate(
            {
                "rank": held["r"],
                "alpha": held["lora_alpha"],
                "dropout": 0.0,
                "targets": sorted(targets),
                "learning_rate": known["learning_rate"],
            }
        )
    except (KeyError, TypeError, ValidationError):
        raise SettingError(
            f"{trajectory} does not say at what learning rate it was trained"
        ) from None
