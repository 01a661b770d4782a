"""Bench: a tiny model that was really fine-tuned on a few rows, ready for any method to be scored on."""

from __future__ import annotations

import atexit
import io
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe, Renderer, get_recipe
from wherefrom.errors import SettingError
from wherefrom.methods import Method, Resource, score_all
from wherefrom.models import FinetuneSettings, LoadedModel, draw_weights, finetune, load_model
from wherefrom.run import IndexSettings
from wherefrom.run._gather import Read, assemble, in_memory
from wherefrom.run._states import PlannedPass, State, States
from wherefrom.scores import Scores
from wherefrom.signals import At, Side, Source
from wherefrom.testing._models import KINDS, save_tiny, tiny_tokenizer
from wherefrom.testing._rows import query_rows, reference_rows, texts, training_rows

Mode = Literal["lora", "full"]
MODES: tuple[Mode, ...] = ("lora", "full")
"""What is trained: a LoRA adapter on every linear layer, or all weights."""

_DRAWS = 12
_EPOCHS = 3
_PASS = IndexSettings.model_validate({})


@dataclass
class Bench:
    """A tiny fine-tuned model with its trajectory, rows, and every signal that was asked of it so far.

    Signals are kept, so that methods with the same needs share the passes.

    Attributes:
        kind: architecture, one of `llama`, `gpt2`, `neox`, `gemma`.
        mode: `lora` or `full`.
        loaded: the fine-tuned model.
        recipe: how rows are rendered and curvature is damped.
        folder: where model and trajectory lie.
        train: training rows.
        queries: queries; each is a training row under another id.
        references: a reference answer for every query.
    """

    kind: str
    mode: Mode
    loaded: LoadedModel
    recipe: Recipe
    folder: Path
    train: tuple[Example, ...] = field(default_factory=lambda: tuple(training_rows()))
    queries: tuple[Example, ...] = field(default_factory=lambda: tuple(query_rows()))
    references: tuple[Example, ...] = field(default_factory=lambda: tuple(reference_rows()))

    def __post_init__(self) -> None:
        self._renderer = Renderer(self.loaded.tokenizer, self.recipe)
        self._passes: dict[tuple[object, ...], tuple[Source, FactorSums | None]] = {}

    @cached_property
    def states(self) -> States:
        """Checkpoints, base model and moments that fine-tuning left; no draws."""
        return States.of(self.loaded, self.folder / "trajectory", most=_EPOCHS)

    @cached_property
    def states_and_draws(self) -> States:
        """The same, and weights drawn around the final ones."""
        rows = self._renderer.render_all(self.train)
        with quiet():
            folders = draw_weights(self.loaded, rows, self.folder / "draws", _DRAWS, radius=0.1)
        return replace(self.states, draws=tuple(State(f.name, f) for f in folders))

    def lacks(self, method: Method) -> str | None:
        """What the method requires that no bench has; None where nothing is missing."""
        held = {Resource.MOMENTS, Resource.REFERENCES}
        missing = sorted(resource.value for resource in method.requires - held)
        return f"needs {', '.join(missing)}" if missing else None

    def score(
        self,
        method: Method,
        train: Sequence[Example] | None = None,
        queries: Sequence[Example] | None = None,
        settings: IndexSettings = _PASS,
        take: int = 0,
    ) -> Scores:
        """Scores of one method.

        Args:
            method: the method.
            train: training rows; the bench's own when None.
            queries: queries, some of the bench's own; all of them when None.
            settings: batches and padding of the passes.
            take: signals of another take are captured anew.
        """
        train = self.train if train is None else train
        queries = self.queries if queries is None else queries
        answers = {row.id: row for row in self.references}
        rows: dict[Side, Sequence[Example]] = {Side.TRAIN: train, Side.QUERY: queries}
        rows[Side.REFERENCE] = [answers[row.id] for row in queries]
        drawn = any(need.at is At.DRAWS for need in method.needs)
        states = self.states_and_draws if drawn else self.states
        with quiet():
            read = self._read(rows, settings, take)
            evidence = assemble([method], states, rows, self.recipe, read)
            return score_all([method], evidence).scores[0]

    def _read(
        self, rows: Mapping[Side, Sequence[Example]], settings: IndexSettings, take: int
    ) -> Read:
        run = in_memory(self.loaded, self._renderer, rows, settings)
        digests = {side: tuple(row.digest() for row in found) for side, found in rows.items()}

        def read(one: PlannedPass) -> tuple[Source, FactorSums | None]:
            key = (one.state.name, one.side, one.needs, digests[one.side], settings, take)
            if key not in self._passes:
                source, factors = run(one)
                # a method that writes into what it was given would change what the next one sees
                for name in source.names():
                    source.read(name).flags.writeable = False
                self._passes[key] = source, factors
            return self._passes[key]

        return read


@cache
def make_bench(kind: str = "llama", mode: Mode = "lora") -> Bench:
    """Makes a bench, once in a process: about a second.

    Args:
        kind: architecture, one of `llama`, `gpt2`, `neox`, `gemma`.
        mode: `lora` trains an adapter on every linear layer, `full` all weights.

    Raises:
        SettingError: there is no such kind or mode.
    """
    if kind not in KINDS or mode not in MODES:
        known = f"{', '.join(KINDS)} and {', '.join(MODES)}"
        raise SettingError(f"no bench is called {kind}/{mode}; there are {known}.")
    folder = Path(tempfile.mkdtemp(prefix="wherefrom-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    tokenizer = tiny_tokenizer(texts())
    recipe = get_recipe("sound-1")
    rows = Renderer(tokenizer, recipe).render_all(training_rows())
    settings = FinetuneSettings.model_validate(
        {
            "mode": mode,
            "rank": 2,
            "alpha": 8,
            "dropout": 0,
            "targets": ("all-linear",),
            "epochs": _EPOCHS,
            "batch_size": 2,
            # high enough that 24 steps fit the rows, and that checkpoints lie apart
            "learning_rate": 0.02 if mode == "lora" else 0.01,
            "schedule": "constant",
            "precision": "float32",
            "seed": 1,
        }
    )
    with quiet():
        base = save_tiny(folder / "base", kind, tokenizer)
        finetune(str(base), rows, settings, folder)
        if mode == "lora":
            loaded = load_model(str(base), folder / "adapter", device="cpu")
        else:
            loaded = load_model(str(folder / "model"), device="cpu")
    return Bench(kind, mode, loaded, recipe, folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps hundreds of progress lines from the person at the terminal."""
    with redirect_stderr(io.StringIO()):
        yield
