"""What a person traces: a run, an adapter or a model that was fine-tuned elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

from wherefrom.errors import ModelError, SettingError
from wherefrom.identity import digest_value
from wherefrom.progress import say
from wherefrom.run._config import AT_THE_END, DEFAULT_METHOD
from wherefrom.run._open import open_or_make
from wherefrom.run._run import Run
from wherefrom.run._states import merge

if TYPE_CHECKING:
    from wherefrom.methods import Method

PREFERRED = (DEFAULT_METHOD, AT_THE_END, "for_value", "repsim(position=mean_response)", "bm25")
"""Methods that a budget chooses among, the first that fits leading."""
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")


def open_target(
    target: Path, data: str | None, makes: dict[str, Any], out: Path | None = None
) -> Run:
    """The run to trace: one that is there, or one of an adapter or model from elsewhere.

    A run of an adapter is found again by what it is made from: adapter weights, rows and settings. Other
    weights or other rows are another run.

    Args:
        target: a run folder, a PEFT adapter's folder, or a fine-tuned model's folder.
        data: training rows of an adapter or model; a run has its own.
        makes: settings that make a run what it is; None for those that were not given.
        out: the run folder to make; `runs/NAME-DIGEST` when None.

    Raises:
        SettingError: there is nothing to trace at `target`, or what it needs was not given.
        ModelError: an adapter does not say which base model it is of.
    """
    if (target / "run.yaml").is_file():
        given = [name for name, value in {"data": data, **makes}.items() if value is not None]
        if given:
            option = given[0].replace("_", "-")
            raise SettingError(
                f"{target} is a run, which has its rows and model; leave --{option} out."
            )
        return Run.open(target)
    is_adapter = (target / "adapter_config.json").is_file()
    if not is_adapter and not (target / "config.json").is_file():
        kind = "is no run, adapter or model" if target.is_dir() else "no such folder"
        raise SettingError(
            f"{target}: {kind}. Give a run folder, a PEFT adapter's folder (adapter_config.json) or a "
            "fine-tuned model's (config.json)."
        )
    if data is None:
        what = "an adapter" if is_adapter else "a model"
        raise SettingError(f"{target} is {what}; give its training rows with --data train.jsonl.")
    own = dict(makes)
    if is_adapter:
        own["adapter"] = str(target)
        own["model"] = own.get("model") or _base_of(target)
    else:
        if own.get("model") is not None:
            raise SettingError(f"{target} is a whole model; leave --model out.")
        own["model"] = str(target)
    folder = out or Path("runs") / f"{target.resolve().name}-{_digest(target, data, own)}"
    if not (folder / "run.yaml").is_file():
        say(f"run folder: {folder}")
    return open_or_make(
        folder, {**own, "data": data}, {"methods": [DEFAULT_METHOD, AT_THE_END]}, {}
    )


def index_for(run: Run, methods: Sequence[Method], budget: str | None = None) -> Run:
    """The run, with the passes made that methods need of the training rows and that are not there yet.

    Args:
        run: fine-tuned, or of an adapter.
        methods: what will be asked.
        budget: seconds that passes may take, as `10min`; methods that would go over it are left out.
    """
    recipe = run.config.recipes()[0]
    if budget is None and all(
        run.is_stored(recipe, one)
        for one in merge(
            {need for m in methods for need in m.needs if need.side.value == "train"},
            run.states(recipe),
        )
    ):
        return run
    specs = dict.fromkeys([*run.config.methods, *(m.spec for m in methods)])
    if budget is not None:
        specs = dict.fromkeys(m.spec for m in methods)
    changes = {"methods": tuple(specs), "budget": budget}
    changed = run.changed(run.config.model_copy(update=changes))
    changed.index()
    return changed


def _base_of(adapter: Path) -> str:
    try:
        held = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        base = held["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise ModelError(
            f"{adapter / 'adapter_config.json'} does not say which base model it is of; give --model."
        )
    return base


def _digest(target: Path, data: str, makes: dict[str, Any]) -> str:
    files = [target / name for name in _WEIGHTS] + [Path(data)]
    return digest_value(
        [
            [str(target.resolve()), str(data)],
            [_of_file(path) for path in files if path.is_file()],
            sorted((key, str(value)) for key, value in makes.items() if value is not None),
        ]
    )[:8]


def _of_file(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as handle:
        while piece := handle.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()
