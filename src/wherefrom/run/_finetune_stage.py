"""The fine-tune of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherefrom.atomic import read_json
from wherefrom.data import Renderer
from wherefrom.errors import SettingError
from wherefrom.models import finetune, load_tokenizer
from wherefrom.progress import say
from wherefrom.run._config import RunConfig, read_config
from wherefrom.run._index import truncation_note
from wherefrom.world import world

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def finetune_run(run: Run) -> None:
    """Fine-tunes the model of a run on its rows, unless that is done already.

    Raises:
        SettingError: several processes were launched; fine-tuning takes one.
    """
    config, settings = run.config, run.config.finetune
    if settings is None:
        return
    if run.tuned is not None:
        if "fine-tune" not in run.card.entries:
            run.card.set("fine-tune", read_json(run.path / "trajectory" / "summary.json"))
        run.keep(_before_pass(run))
        return
    if world().size > 1:
        raise SettingError(
            f"{run.path}: not fine-tuned yet. Fine-tune in one process first; several share the pass."
        )
    tokenizer = load_tokenizer(config.model, trust_remote_code=config.trust_remote_code)
    renderer = Renderer(tokenizer, config.recipes()[0])
    rows = renderer.render_all(run.train)
    run.warn(truncation_note(rows, renderer.recipe.max_length, "training"))
    say(
        f"fine-tune: {len(rows)} rows, {sum(len(r.ids) for r in rows):,} tokens, "
        f"{settings.epochs} epochs, {settings.mode}, {settings.resolved_precision()}"
    )
    with run.card.timed("fine-tune"):
        about = finetune(
            config.model,
            rows,
            settings,
            run.path,
            device_map=config.device_map,
            quantize=config.quantize,
            trust_remote_code=config.trust_remote_code,
        )
    run.card.set("fine-tune", about)
    run.keep(_before_pass(run))


def _before_pass(run: Run) -> RunConfig:
    """The config with the settings of the last pass: new ones may yet be refused."""
    index = read_config(run.path / "run.yaml").index
    return run.config.model_copy(update={"index": index})


def require_plain_base(run: Run) -> None:
    """Refuses what trains a run again where its base is quantised or spread over devices.

    Raises:
        SettingError: it is.
    """
    for name in ("quantize", "device_map"):
        if getattr(run.config, name) is not None:
            raise SettingError(
                f"{run.path}: training it again is not possible with {name}: the retrained models would "
                "start from another base. Make the run without it."
            )
