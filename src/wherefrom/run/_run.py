"""Run: one folder with everything from rows to scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe, Renderer, TokenRow, read_snapshot
from wherefrom.errors import DataError, IdentityError, SettingError, StoreError
from wherefrom.identity import require_same
from wherefrom.methods import SHARED, Evidence, Method, score_top, select_methods
from wherefrom.models import LoadedModel
from wherefrom.place import Place, place
from wherefrom.progress import say
from wherefrom.run._asked import evidence_for, methods_for
from wherefrom.run._behaviour import behaviour
from wherefrom.run._beside import their_trajectory, trajectory_beside
from wherefrom.run._card import Card
from wherefrom.run._config import (
    AT_THE_END,
    DEFAULT_METHOD,
    LEADING,
    IndexSettings,
    RunConfig,
    read_config,
    write_config,
)
from wherefrom.run._finetune_stage import finetune_run
from wherefrom.run._gather import assemble
from wherefrom.run._index import stored
from wherefrom.run._index_stage import index_recipe
from wherefrom.run._make import make_run
from wherefrom.run._precision import model_of
from wherefrom.run._products import beside_products, kept_products
from wherefrom.run._queries import add_queries, batches, digest_of
from wherefrom.run._references import references
from wherefrom.run._replays import read_replays, wanted
from wherefrom.run._rows import (
    made_from,
    rows_digest,
    task_of,
)
from wherefrom.run._score_stage import score_run
from wherefrom.run._states import PlannedPass, State, States
from wherefrom.scores import Scores, TopK
from wherefrom.signals import AppendedSignals, Kind, Policy, Side, Source
from wherefrom.tasks import Task
from wherefrom.world import world

if TYPE_CHECKING:
    from wherefrom.answers import Answer, TokenEvidence


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
        return make_run(cls, path, config)

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
        return self._rows("train", self.card.entries.get("rows", {}).get("train digest"))

    @cached_property
    def queries(self) -> list[Example]:
        """The queries, those added later last; empty where none were given."""
        return [row for part in self.parts(Side.QUERY).values() for row in part]

    def parts(self, side: Side) -> dict[str, list[Example]]:
        """Rows of a side by batch: queries that were added later have a pass of their own.

        Returns:
            By suffix of the batch, the first one's empty.
        """
        if side is Side.TRAIN:
            return {"": self.train}
        if side is Side.REFERENCE:
            return references(self)
        return {
            suffix: self._rows(f"queries{suffix}", digest_of(self, suffix))
            for suffix in batches(self)
        }

    def add_queries(self, rows: Sequence[Example]) -> int:
        """Adds queries; signals that are there stay as they are, the next `index` reads the new rows.

        Returns:
            How many were added; rows that were added before are not added again.

        Raises:
            SettingError: the run is of a benchmark task.
            DataError: an id is another query's.
        """
        return add_queries(self, rows)

    def forget_queries(self) -> None:
        """Drops what was read of the queries, after some were added."""
        self.__dict__.pop("queries", None)

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
        """Fine-tunes the model on the rows, unless that is done already.

        Raises:
            SettingError: several processes were launched; fine-tuning takes one.
        """
        finetune_run(self)

    @property
    def tuned(self) -> Path | None:
        """Folder of what fine-tuning made; None before it, or when its trajectory is gone."""
        if not (self.path / "trajectory").is_dir():
            return None
        found = [self.path / name for name in ("adapter", "model")]
        return next((folder for folder in found if folder.is_dir()), None)

    @property
    def trajectory(self) -> Path:
        """Folder of the trajectory: the run's own, or that beside what was trained elsewhere."""
        return trajectory_beside(self.config, self.path)

    @cached_property
    def model(self) -> LoadedModel:
        """The fine-tuned model, in the precision of the pass.

        Raises:
            SettingError: the run was not fine-tuned yet.
        """
        return model_of(self)

    @property
    def passing(self) -> IndexSettings:
        """Settings of the pass; those left to `auto` as they were settled for this run."""
        return self.config.index.settled(self.card.entries)

    @property
    def policy(self) -> Policy:
        """What is kept of gradients; exact as long as it is not settled."""
        return Policy.EXACT if self.passing.policy == "auto" else Policy(self.passing.policy)

    def methods(self, recipe: Recipe | None = None) -> list[Method]:
        """The methods of the config under a recipe, less those that the last plan left out.

        Args:
            recipe: one of the run's; its own when None.
        """
        left = self.card.entries.get("left out", {})
        specs = self.config.methods if recipe is None else self.config.specs(recipe)
        chosen = [m for m in select_methods(specs) if m.spec not in left]
        if not chosen:
            reasons = "; ".join(f"{spec}: {why}" for spec, why in left.items())
            raise SettingError(f"{self.path}: no method can run here ({reasons}).")
        return chosen

    @property
    def leading(self) -> str:
        """The method that answers where nobody chooses: the first of `LEADING` that it was made with.

        A run of other methods alone is indexed for the default when it is traced, or for the default's form
        at the end where there are no checkpoints.
        """
        left = self.card.entries.get("left out", {})
        own = {m.spec for m in select_methods(self.config.methods)} - set(left)
        if not own & set(LEADING):
            own = {DEFAULT_METHOD, AT_THE_END}
        if DEFAULT_METHOD in own and not self._kept_checkpoints:
            own -= {DEFAULT_METHOD}
        return next((spec for spec in LEADING if spec in own), AT_THE_END)

    @property
    def _kept_checkpoints(self) -> bool:
        if self.config.finetune is not None:
            return True
        return self.trajectory.is_dir() and bool(self._along.checkpoints)

    def states(self, recipe: Recipe) -> States:
        """The states of the model that there are; draws are those of a recipe."""
        folder = self.draws(recipe)
        names = [f"draw-{i:03d}" for i in range(self.config.index.draws)]
        return replace(self._along, draws=tuple(State(name, folder / name) for name in names))

    @cached_property
    def _along(self) -> States:
        adapter = None if self.config.adapter is None else Path(self.config.adapter)
        trajectory = their_trajectory(self)
        return States.of(self.model, trajectory, self.config.index.checkpoints, adapter)

    def draws(self, recipe: Recipe) -> Path:
        """Folder of the weights that are drawn around the final ones under a recipe's loss."""
        return self.path / "draws" / recipe.name

    def index(self, *, restart: bool = False) -> None:
        """Runs the passes that the methods need, for each recipe, after saying what they cost.

        Methods that cannot run here, or would go over the budget, are named and left out.

        Args:
            restart: throw away signals that are there.
        """
        self.card.set("left out", {})
        for recipe in self.config.recipes():
            chosen = select_methods(self.config.specs(recipe))
            if any(m.needs or m.requires for m in chosen):
                index_recipe(self, recipe, chosen, restart)
        self.keep(self.config)

    def references(self) -> list[Example]:
        """The queries with a reference answer: their `reference` column, else the base model's answer."""
        return [row for part in self.parts(Side.REFERENCE).values() for row in part]

    def score(self) -> dict[tuple[str, str], Scores]:
        """Scores of every method and recipe, computed unless they are there already.

        Returns:
            By recipe and method.
        """
        return score_run(self)

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
        methods: Sequence[str] | None = None,
        max_new_tokens: int = 64,
        *,
        verify: bool = False,
    ) -> Answer:
        """Which training rows pushed the model towards this response.

        Args:
            prompt: what the model is asked.
            response: what it said; it is asked (greedily) when None.
            methods: methods to score by, the first leading; `all` stands for those of the run, None for the
                one that leads.
            max_new_tokens: longest answer the model is let give.
            verify: make the causal spot check for the verdict too: a few training steps on the top rows,
                on random rows and on the nearest by words.

        Raises:
            SettingError: prompt or response is empty, or the run was not indexed for these methods.
            IdentityError: the index is of another model, adapter or template.
        """
        # its verdict is slow to import, and no other stage needs it
        from wherefrom.run._trace import trace

        return trace(self, prompt, response, methods or [self.leading], max_new_tokens, verify)

    def trace_all(
        self,
        queries: Sequence[Example],
        methods: Sequence[str] | None = None,
        max_new_tokens: int = 64,
        *,
        verify: bool = False,
    ) -> list[Answer]:
        """`trace` for many queries at once: one pass over them, one walk over the training signals.

        Args:
            queries: prompts and responses; the model is asked where a response is empty.
            methods: as for `trace`.
            max_new_tokens: as for `trace`.
            verify: as for `trace`.

        Raises:
            SettingError: a prompt is empty, an id stands twice, or the run was not indexed for a method.
            IdentityError: the index is of another model, adapter or template.
        """
        from wherefrom.run._trace import trace_all

        return trace_all(self, queries, methods or [self.leading], max_new_tokens, verify)

    def tokens(
        self,
        answer: Answer,
        rows: Sequence[str] | None = None,
        method: str | None = None,
        k: int = 3,
    ) -> tuple[TokenEvidence, ...]:
        """Which tokens of the query and of training rows carry their scores.

        Args:
            answer: what `trace` gave.
            rows: ids of training rows; the k top proponents when None.
            method: one of the answer's; the leading one when None.
            k: how many rows.

        Raises:
            SettingError: the method's scores are no sums over tokens; the message says why.
        """
        from wherefrom.run._tokens import tokens_of

        scores = answer.of(method)
        chosen = rows if rows is not None else scores.top(k).ids[0].tolist()
        return tokens_of(self, answer.query, chosen, scores.method)

    def top(
        self,
        k: int = 100,
        methods: Sequence[str] | None = None,
        queries: Sequence[Example] | None = None,
        *,
        memory: float = 4e9,
    ) -> list[TopK]:
        """The k rows that pushed most towards each query's response, and the k that pushed most against.

        Training signals pass by a chunk at a time, so that they need not fit memory.

        Args:
            k: rows kept at each end.
            methods: methods on gradients; `methods.cannot_stream` says which cannot be asked. The one that
                leads when None.
            queries: rows to explain; the run's own, as they were indexed, when None.
            memory: bytes that the work may take.

        Raises:
            SettingError: a method cannot be asked, or the run was not indexed for it.
            IdentityError: the index is of another model, adapter or template.
        """
        chosen = methods_for(self, methods or [self.leading])
        if queries is None:
            evidence = self.evidence(self.config.recipes()[0], chosen)
        else:
            evidence = evidence_for(self, queries, chosen)
        return score_top(chosen, evidence, k, memory=memory)

    def evidence(self, recipe: Recipe, methods: Sequence[Method]) -> Evidence:
        """The stored signals that methods need.

        Raises:
            StoreError: they were not captured, or not to the end.
        """
        rows = {Side.TRAIN: self.train, Side.QUERY: self.queries}
        needed = any(m.needs for m in methods)
        states = self.states(recipe) if needed else States()
        model = self.model.model if needed else None
        found = assemble(
            methods,
            states,
            rows,
            recipe,
            lambda p: self.stored(recipe, p),
            model,
            lambda state: kept_products(self, recipe, state),
        )
        return replace(found, replays=read_replays(self, wanted(methods)))

    def stored(self, recipe: Recipe, one: PlannedPass) -> tuple[Source, FactorSums | None]:
        """The signals that a pass left.

        Raises:
            StoreError: they were not captured, or not to the end.
        """
        if self.policy is Policy.GRAM:
            one = beside_products(one)
        if one.side is Side.TRAIN:
            return stored(self.signals(recipe, one), one.needs)
        parts = [
            stored(self.signals(recipe, one, suffix), one.needs)[0] for suffix in batches(self)
        ]
        return (parts[0] if len(parts) == 1 else AppendedSignals(parts)), None

    def rendered(self, recipe: Recipe) -> list[TokenRow]:
        """The training rows as the model reads them."""
        return Renderer(self.model.tokenizer, recipe).render_all(self.train)

    def is_stored(self, recipe: Recipe, one: PlannedPass) -> bool:
        gradients = any(need.kind is Kind.GRADIENT for need in one.needs)
        if self.policy is Policy.GRAM and gradients and not kept_products(self, recipe, one.state):
            return False
        try:
            self.stored(recipe, one)
        except StoreError:
            return False
        return True

    def signals(self, recipe: Recipe, one: PlannedPass, batch: str = "") -> Place:
        return self.signals_place / recipe.name / one.state.name / f"{one.side.value}{batch}"

    @property
    def signals_place(self) -> Place:
        """Where the signals lie: in the run's folder, unless the config says elsewhere."""
        elsewhere = self.config.index.signals
        return self.path / "signals" if elsewhere is None else place(elsewhere)

    def _rows(self, kind: str, noted: str | None) -> list[Example]:
        rows = read_snapshot(self.path / "data" / f"{kind}.jsonl")
        if noted is not None and noted != rows_digest(rows):
            raise IdentityError(
                f"{self.path / 'data' / kind}.jsonl was changed after the run was made: its digest is "
                f"{rows_digest(rows)!r}, the run's card says {noted!r}. Put the file back, or make a "
                "new run."
            )
        return rows

    def keep(self, config: RunConfig) -> None:
        """Writes the config that replays the run; of several processes the first one does."""
        if world().first:
            write_config(config, self.path / "run.yaml")

    def warn(self, note: str | None) -> None:
        """Tells the person at the terminal, and the card; nothing when None."""
        if note:
            say(f"warning: {note}")
            self.card.note(note)
