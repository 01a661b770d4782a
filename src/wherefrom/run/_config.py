"""RunConfig: everything that makes a run what it is, as YAML that replays it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from wherefrom.atomic import write_text
from wherefrom.data import Recipe, get_recipe
from wherefrom.errors import SettingError
from wherefrom.models import FinetuneSettings

DEFAULT_MODEL = "builtin:smollm2-135m"
DEFAULT_METHOD = "influence_along"
"""What leads on ground truth by retraining, on tasks that it was not chosen on (docs/results/study.md)."""
AT_THE_END = "influence(curvature=true)"
"""What leads of methods on the final model alone, for adapters that come without checkpoints."""
LEADING = (DEFAULT_METHOD, AT_THE_END, "influence")
"""Methods that lead where nobody chooses: the first that a run was made with."""


class IndexSettings(BaseModel):
    """How the pass over the rows is run; batches and padding change no result.

    Attributes:
        precision: of the model's weights during the pass. `auto` takes bfloat16 where the hardware
            multiplies it fast and gradients of the first rows agree with those in float32.
        batch_tokens: most tokens of a batch; 512 on a CPU and 4,096 on an accelerator when None.
        workers: one-thread processes that a pass on a CPU is shared by; as many as torch would have
            threads when None, and one for a short pass.
        policy: what is kept of gradients: `exact` all of them; `projected` what a two-sided projection
            leaves; `gram` their inner products alone. `auto`: exact for adapters while it fits `disk`,
            else projected.
        projection: k of that projection, of each side of a weight matrix.
        half: keep gradients in half precision with a scale for each row; when None, where the pass
            computes in half precision anyway, and where they would not fit otherwise.
        disk: bytes that the signals of a run may take, `20GB`; nine tenths of what is free when None.
        signals: folder or fsspec URL (`s3://…`) that signals go to; the run's own folder when None.
        padding_side: where batches are padded.
        blocks: regular expression choosing the traced weight matrices; all when None.
        strict: refuse to run when some trainable parameter cannot be traced.
        checkpoints: how many checkpoints of the trajectory are passed over, for methods that look along the
            training run: those in the middles of equal parts of its learning rate.
        error_dimension: rows of the random projection that token errors are seen through; a smaller
            vocabulary is kept exactly.
        draws: how many weights are drawn around the final ones, for Bayesian influence.
        draw_radius: how far they lie, as a share of each weight matrix's own root mean square.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    batch_tokens: int | None = Field(None, ge=1)
    workers: int | None = Field(None, ge=1)
    policy: Literal["auto", "exact", "projected", "gram"] = "auto"
    projection: int = Field(16, ge=1)
    half: bool | None = None
    disk: str | None = None
    signals: str | None = None
    padding_side: Literal["right", "left"] = "right"
    blocks: str | None = None
    strict: bool = False
    checkpoints: int = Field(3, ge=1)
    error_dimension: int = Field(256, ge=1)
    draws: int = Field(32, ge=2)
    draw_radius: float = Field(0.1, gt=0)

    @property
    def project(self) -> int:
        """K of the projection that gradients are captured through; 0 for none."""
        return self.projection if self.policy == "projected" else 0

    def settled(self, card: Mapping[str, Any]) -> IndexSettings:
        """The settings with those left to `auto` as a run's card says that they were settled."""
        changes: dict[str, Any] = {}
        if self.precision == "auto" and "precision" in card:
            changes["precision"] = card["precision"]["is"]
        if self.policy == "auto" and "policy" in card:
            changes["policy"] = card["policy"]["is"]
        if self.half is None and "policy" in card:
            changes["half"] = card["policy"]["half"]
        return self.model_copy(update=changes)


class RunConfig(BaseModel):
    """What a run is made from.

    Attributes:
        model: base model: `builtin:…`, folder, GGUF file or hub id.
        adapter: a PEFT adapter trained elsewhere, in place of fine-tuning.
        device_map: `auto` spreads the base model over the devices there are.
        quantize: the base model's weights in `4bit` or `8bit`, by bitsandbytes.
        trust_remote_code: run code that ships with the model.
        task: a benchmark task, in place of `data`.
        train_per_class: training rows of each class of the task.
        queries_per_class: queries of each class of the task.
        data: file, folder or hub name of the training rows.
        queries: the same for the queries.
        shape: row shape of both; detected when None.
        split: split of a data set that has several.
        limit: read only that many training rows.
        seed: of the task's rows and of fine-tuning.
        recipe: recipe of fine-tuning, and of the first pass.
        also: further recipes under which the same fine-tuned model is passed over.
        also_methods: methods to score under those; `methods` when None.
        template: in place of the recipe's.
        mask: in place of the recipe's.
        max_length: in place of the recipe's.
        finetune: settings of fine-tuning; None with an adapter from elsewhere.
        index: how the pass is run.
        methods: methods to score, or `all`, `fast`, `paper`.
        budget: how long the passes may take together, `10min`; methods that would go over it are left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = DEFAULT_MODEL
    adapter: str | None = None
    device_map: Literal["auto"] | None = None
    quantize: Literal["4bit", "8bit"] | None = None
    trust_remote_code: bool = False
    task: str | None = None
    train_per_class: int | None = Field(None, ge=1)
    queries_per_class: int | None = Field(None, ge=1)
    data: str | None = None
    queries: str | None = None
    shape: str | None = None
    split: str | None = None
    limit: int | None = Field(None, ge=1)
    seed: int = 0
    recipe: str = "sound-1"
    also: tuple[str, ...] = ()
    also_methods: tuple[str, ...] | None = None
    template: str | None = None
    mask: Literal["response", "prompt+response", "paper"] | None = None
    max_length: int | None = None
    finetune: FinetuneSettings | None = None
    index: IndexSettings = Field(default_factory=lambda: IndexSettings.model_validate({}))
    methods: tuple[str, ...] = ("fast", DEFAULT_METHOD, AT_THE_END)
    budget: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if (self.task is None) == (self.data is None):
            raise ValueError("give either a task or data, not both")
        if self.adapter is not None and self.finetune is not None:
            raise ValueError("give either an adapter or fine-tuning settings, not both")
        self.recipes()
        return self

    def specs(self, recipe: Recipe) -> tuple[str, ...]:
        """Methods to score under one of the recipes."""
        if self.also_methods is None or recipe.name == self.recipes()[0].name:
            return self.methods
        return self.also_methods

    def recipes(self) -> list[Recipe]:
        """The recipe of the run with its changes, then the further ones as they are."""
        changes = {"template": self.template, "mask": self.mask, "max_length": self.max_length}
        others = [get_recipe(name) for name in self.also if name != self.recipe]
        return [get_recipe(self.recipe, **changes), *others]


def write_config(config: RunConfig, path: Path) -> None:
    """Writes a config as YAML; entries at their default are written too."""
    write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def read_config(path: Path) -> RunConfig:
    """Reads a config from YAML.

    Raises:
        SettingError: the file is missing or broken, or an entry is unknown or does not fit.
    """
    if not path.is_file():
        raise SettingError(f"{path}: no such file.")
    try:
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: not readable as YAML ({error}).") from None
    if not isinstance(entries, dict):
        raise SettingError(f"{path}: must hold named settings.")
    return make_config(str(path), **entries)


def make_config(where: str, **entries: Any) -> RunConfig:
    """A config from entries, its complaints as one clear error.

    Raises:
        SettingError: an entry is unknown or does not fit; all complaints are listed.
    """
    try:
        return RunConfig(**entries)
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"])
            message = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {message}" if place else message)
        raise SettingError(f"{where}: " + "; ".join(lines) + ".") from None
