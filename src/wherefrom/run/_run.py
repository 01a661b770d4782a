"""Run: one folder with everything from rows to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from wherefrom.atomic import file_name, is_ours, mark_ours, read_json
from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe, Renderer, read_snapshot, write_snapshot
from wherefrom.errors import DataError, IdentityError, SettingError, StoreError
from wherefrom.identity import digest_value, require_same
from wherefrom.methods import (
    SHARED,
    Evidence,
    Method,
    score_all,
    select_methods,
)
from wherefrom.models import LoadedModel, finetune, load_model, load_tokenizer
from wherefrom.progress import say
from wherefrom.run._answer import Answer
from wherefrom.run._behaviour import behaviour
from wherefrom.run._card import Card
from wherefrom.run._config import RunConfig, read_config, write_config
from wherefrom.run._gather import assemble
from wherefrom.run._index import stored, truncation_note
from wherefrom.run._index_stage import index_recipe
from wherefrom.run._references import references
from wherefrom.run._replays import read_replays, wanted
from wherefrom.run._rows import (
    made_from,
    read_rows,
    rows_digest,
    task_of,
    with_absolute_paths,
)
from wherefrom.run._states import PlannedPass, State, States
from wherefrom.run._trace import DEFAULT_METHOD, trace
from wherefrom.scores import Scores, read_scores, write_scores
from wherefrom.signals import Side, Source
from wherefrom.tasks import Task


class Run:
    """A run folder: config, rows, fine-tuned model, signals, scores.

    Every stage can be repeated: what is finished and still fits is not done again, what was
    interrupted goes on where it stopped.

    Example:
        run = wherefrom.open("runs/demo")
        run.trace("How do I reset it?").top(10).to_pandas()
    """

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config
        self.card = Card(path / "card.json")

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> Run:
        """Makes a run folder with its rows, or takes up the one that is there.

        Raises:
            DataError: the rows cannot be read.
            IdentityError: the folder holds a run of another config.
        """
        config = with_absolute_paths(config)
        if (path / "run.yaml").is_file():
            run = cls.open(path)
            # rows alone cost nothing: a mistyped first command does not block the second
            if run._has_results() or made_from(run.config) == made_from(config):
                return run.changed(config)
        elif path.exists() and any(path.iterdir()) and not is_ours(path):
            raise SettingError(f"{path} is not empty and is no run folder. Use another --out.")
        train, queries = read_rows(config)
        path.mkdir(parents=True, exist_ok=True)
        mark_ours(path)
        write_snapshot(train, path / "data" / "train.jsonl")
        write_snapshot(queries, path / "data" / "queries.jsonl")
        write_config(config, path / "run.yaml")
        run = cls(path, config)
        run.card.set(
            "rows",
            {
                "train": len(train),
                "train digest": rows_digest(train),
                "queries": len(queries),
                "queries digest": rows_digest(queries),
                "seed": config.seed,
            },
        )
        return run

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Opens a run folder.

        Raises:
            SettingError: there is no run there.
        """
        folder = Path(path)
        if not (folder / "run.yaml").is_file():
            raise SettingError(f"{folder}: no run here (no run.yaml in it).")
        return cls(folder, read_config(folder / "run.yaml"))

    def changed(self, config: RunConfig) -> Run:
        """The same run under a config that differs in its methods, further recipes or the pass.

        The new config is kept once a stage has accepted it.

        Raises:
            IdentityError: the configs differ in what the rows or the fine-tuned model are made from.
        """
        require_same(
            made_from(self.config),
            made_from(config),
            f"the run {self.path}",
            "this command",
            "Use another folder, or the settings of that run.",
        )
        return Run(self.path, config)

    @cached_property
    def train(self) -> list[Example]:
        """The training rows, as they were when the run was made."""
        return self._rows("train")

    @cached_property
    def queries(self) -> list[Example]:
        """The queries; empty where none were given."""
        return self._rows("queries")

    @cached_property
    def task(self) -> Task | None:
        """The benchmark task, its rows those of the run; None for the user's own data."""
        if self.config.task is None:
            return None
        built = task_of(self.config)
        if rows_digest(built.train) != rows_digest(self.train):
            raise DataError(
                f"{self.path}: task {self.config.task} now makes other rows than the run was made with. "
                "Make a new run."
            )
        return built

    def finetune(self) -> None:
        """Fine-tunes the model on the rows, unless that is done already."""
        settings = self.config.finetune
        if settings is None:
            return
        if self.tuned is not None:
            if "fine-tune" not in self.card.entries:
                self.card.set("fine-tune", read_json(self.path / "trajectory" / "summary.json"))
            self._keep(self._before_pass())
            return
        tokenizer = load_tokenizer(
            self.config.model, trust_remote_code=self.config.trust_remote_code
        )
        renderer = Renderer(tokenizer, self.config.recipes()[0])
        rows = renderer.render_all(self.train)
        self.warn(truncation_note(rows, renderer.recipe.max_length, "training"))
        say(
            f"fine-tune: {len(rows)} rows, {sum(len(r.ids) for r in rows):,} tokens, "
            f"{settings.epochs} epochs, {settings.mode}, {settings.resolved_precision()}"
        )
        with self.card.timed("fine-tune"):
            about = finetune(
                self.config.model,
                rows,
                settings,
                self.path,
                trust_remote_code=self.config.trust_remote_code,
            )
        self.card.set("fine-tune", about)
        self._keep(self._before_pass())

    @property
    def tuned(self) -> Path | None:
        """Folder of what fine-tuning made; None before it, or when its trajectory is gone."""
        if not (self.path / "trajectory").is_dir():
            return None
        found = [self.path / name for name in ("adapter", "model")]
        return next((folder for folder in found if folder.is_dir()), None)

    @property
    def trajectory(self) -> Path:
        """Folder of the trajectory: the run's own, or that beside an adapter trained in another run."""
        adapter = self.config.adapter
        return (self.path if adapter is None else Path(adapter).parent) / "trajectory"

    @cached_property
    def model(self) -> LoadedModel:
        """The fine-tuned model, in the precision of the pass.

        Raises:
            SettingError: the run was not fine-tuned yet.
        """
        config, tuned = self.config, self.tuned
        spec, adapter = config.model, config.adapter
        if config.finetune is not None:
            if tuned is None:
                raise SettingError(f"{self.path}: not fine-tuned yet.")
            spec, adapter = (str(tuned), None) if tuned.name == "model" else (spec, str(tuned))
        return load_model(
            spec,
            adapter,
            config.index.precision,
            trust_remote_code=config.trust_remote_code,
        )

    def methods(self) -> list[Method]:
        """The methods of the config, less those that the last plan left out."""
        left = self.card.entries.get("left out", {})
        chosen = [m for m in select_methods(self.config.methods) if m.spec not in left]
        if not chosen:
            reasons = "; ".join(f"{spec}: {why}" for spec, why in left.items())
            raise SettingError(f"{self.path}: no method can run here ({reasons}).")
        return chosen

    def states(self, recipe: Recipe) -> States:
        """The states of the model that there are; draws are those of a recipe."""
        folder = self.draws(recipe)
        names = [f"draw-{i:03d}" for i in range(self.config.index.draws)]
        return replace(self._along, draws=tuple(State(name, folder / name) for name in names))

    @cached_property
    def _along(self) -> States:
        adapter = None if self.config.adapter is None else Path(self.config.adapter)
        return States.of(self.model, self.trajectory, self.config.index.checkpoints, adapter)

    def draws(self, recipe: Recipe) -> Path:
        """Folder of the weights that are drawn around the final ones under a recipe's loss."""
        return self.path / "draws" / recipe.name

    def index(self, *, restart: bool = False) -> None:
        """Runs the passes that the methods need, for each recipe, after saying what they cost.

        Methods that cannot run here, or would go over the budget, are named and left out.

        Args:
            restart: throw away signals that are there.
        """
        chosen = select_methods(self.config.methods)
        if any(m.needs or m.requires for m in chosen):
            for recipe in self.config.recipes():
                index_recipe(self, recipe, chosen, restart)
        else:
            self.card.set("left out", {})
        self._keep(self.config)

    def references(self) -> list[Example]:
        """The queries with a reference answer: their `reference` column, else the base model's answer."""
        return references(self)

    def score(self) -> dict[tuple[str, str], Scores]:
        """Scores of every method and recipe, computed unless they are there already.

        Returns:
            By recipe and method.
        """
        if not self.queries:
            raise SettingError(f"{self.path}: no queries to score. Give --queries, or use trace.")
        found = {}
        methods = self.methods()
        for recipe in self.config.recipes():
            evidence = self.evidence(recipe, methods)
            inputs = {
                "signals": {
                    f"{point.name} {side.value}": source.identity
                    for point in evidence.points()
                    for side, source in point.sources.items()
                },
                "rows": [rows_digest(self.train), rows_digest(self.queries)],
                "recipe": [recipe.damping_rule, recipe.damping],
                "methods": [m.spec for m in methods],
            }
            key = f"scores {recipe.name}"
            folder = self.path / "scores" / recipe.name
            files = {m.spec: folder / f"{file_name(m.spec)}.parquet" for m in methods}
            done = self.card.entries.get(key, {}).get("made from") == digest_value(inputs)
            if not (done and all(path.is_file() for path in files.values())):
                with self.card.timed(f"score ({recipe.name})"):
                    scored = score_all(methods, evidence)
                for scores in scored.scores:
                    write_scores(scores, files[scores.method])
                seconds = {name: round(value, 4) for name, value in scored.seconds.items()}
                self.card.set(key, {"made from": digest_value(inputs), "seconds": seconds})
            for spec, path in files.items():
                found[recipe.name, spec] = read_scores(path)
        return found

    def seconds(self) -> dict[tuple[str, str], float]:
        """Seconds of every method beyond what all share, by recipe and method."""
        return {
            (recipe.name, spec): value
            for recipe in self.config.recipes()
            for spec, value in self.card.entries.get(f"scores {recipe.name}", {})
            .get("seconds", {})
            .items()
            if spec != SHARED
        }

    def behaviour(self) -> dict[str, float]:
        """Share of the queries that show the taught behaviour, before and after fine-tuning."""
        return behaviour(self)

    def trace(
        self,
        prompt: str,
        response: str | None = None,
        methods: Sequence[str] = (DEFAULT_METHOD,),
        max_new_tokens: int = 64,
        *,
        verify: bool = False,
    ) -> Answer:
        """Which training rows pushed the model towards this response.

        Args:
            prompt: what the model is asked.
            response: what it said; it is asked (greedily) when None.
            methods: methods to score by, the first leading; `all` stands for those of the run.
            max_new_tokens: longest answer the model is let give.
            verify: make the causal spot check for the verdict too: a few training steps on the top rows,
                on random rows and on the nearest by words.

        Raises:
            SettingError: prompt or response is empty, or the run was not indexed for these methods.
            IdentityError: the index is of another model, adapter or template.
        """
        return trace(self, prompt, response, methods, max_new_tokens, verify)

    def evidence(self, recipe: Recipe, methods: Sequence[Method]) -> Evidence:
        """The stored signals that methods need.

        Raises:
            StoreError: they were not captured, or not to the end.
        """
        rows = {Side.TRAIN: self.train, Side.QUERY: self.queries}
        needed = any(m.needs for m in methods)
        states = self.states(recipe) if needed else States()
        model = self.model.model if needed else None
        found = assemble(methods, states, rows, recipe, lambda p: self.stored(recipe, p), model)
        return replace(found, replays=read_replays(self, wanted(methods)))

    def stored(self, recipe: Recipe, one: PlannedPass) -> tuple[Source, FactorSums | None]:
        """The signals that a pass left.

        Raises:
            StoreError: they were not captured, or not to the end.
        """
        return stored(self.signals(recipe, one), one.needs)

    def is_stored(self, recipe: Recipe, one: PlannedPass) -> bool:
        try:
            self.stored(recipe, one)
        except StoreError:
            return False
        return True

    def signals(self, recipe: Recipe, one: PlannedPass) -> Path:
        return self.path / "signals" / recipe.name / one.state.name / one.side.value

    def _rows(self, kind: str) -> list[Example]:
        rows = read_snapshot(self.path / "data" / f"{kind}.jsonl")
        noted = self.card.entries.get("rows", {}).get(f"{kind} digest")
        if noted is not None and noted != rows_digest(rows):
            raise IdentityError(
                f"{self.path / 'data' / kind}.jsonl was changed after the run was made: its digest is "
                f"{rows_digest(rows)!r}, the run's card says {noted!r}. Put the file back, or make a "
                "new run."
            )
        return rows

    def _keep(self, config: RunConfig) -> None:
        write_config(config, self.path / "run.yaml")

    def _before_pass(self) -> RunConfig:
        """The config with the settings of the last pass: new ones may yet be refused."""
        index = read_config(self.path / "run.yaml").index
        return self.config.model_copy(update={"index": index})

    def _has_results(self) -> bool:
        kept = ("adapter", "model", "trajectory", "signals", "scores")
        return any((self.path / name).exists() for name in kept)

    def warn(self, note: str | None) -> None:
        """Tells the person at the terminal, and the card; nothing when None."""
        if note:
            say(f"warning: {note}")
            self.card.note(note)
