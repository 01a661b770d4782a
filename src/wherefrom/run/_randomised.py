"""Randomised weights: a run's methods asked about a model that lost what it learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from wherefrom.atomic import atomic_path, file_name, mark_ours, read_json, remove_ours, write_json
from wherefrom.capture import Speed
from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe, Renderer
from wherefrom.errors import SettingError
from wherefrom.identity import digest_value
from wherefrom.methods import Method, Resource, score_all
from wherefrom.models import LoadedModel, at_weights, state_digest, trained_state
from wherefrom.progress import say
from wherefrom.run._gather import assemble, in_state
from wherefrom.run._index import bytes_per_row, index_rows
from wherefrom.run._rows import rows_digest
from wherefrom.run._states import PlannedPass, State, States, merge
from wherefrom.scores import Scores, read_scores, write_scores
from wherefrom.signals import At, Side, Source

if TYPE_CHECKING:
    from wherefrom.run._run import Run

FOLDER = "randomised"
_WEIGHTS = "weights.safetensors"
_MADE_FROM = "made from"
_SEEN = ("precision", "blocks", "checkpoints", "error_dimension", "policy", "projection")
"""Settings of the pass that change scores."""
_PASS = (*_SEEN, "batch_tokens", "padding_side", "half")
"""Settings of the pass that change what is stored."""


def randomised_scores(
    run: Run, recipe: Recipe, methods: Sequence[Method], seed: int = 0
) -> dict[str, Scores]:
    """Scores of methods on the run's model with randomised weights.

    The entries of each trained matrix are permuted, so every matrix keeps its values and loses what they
    said; under LoRA these are the adapter's, and the base model stays. Checkpoints and the model before
    fine-tuning are permuted alike, as the states of one run. Signals lie under `randomised/` in the run
    until they are scored, and an interrupted pass goes on where it stopped; scores are kept there.

    Adebayo et al. 2018 (arXiv 1810.03292) and quanda draw weights anew; permuted ones are of the trained
    ones' size, so no method is let off by scale alone.

    Args:
        run: an indexed run with queries.
        recipe: under which its rows are rendered.
        methods: those that cannot be asked are named and left out: see `not_randomised`.
        seed: which permutations.

    Returns:
        By spec; higher = pushed the randomised model more towards the query's response.

    Raises:
        SettingError: there are no queries, or the model has no trained weights.
    """
    if not run.queries:
        raise SettingError(f"{run.path}: no queries to score. Make the run with --queries.")
    left = {m.spec: why for m in methods if (why := not_randomised(m)) is not None}
    for spec, why in left.items():
        say(f"not randomised: {spec} {why}")
    chosen = [m for m in methods if m.spec not in left]
    ats = {need.at for m in chosen for need in m.needs}
    states = _randomised_states(run, run.states(recipe), ats, seed)
    rows: dict[Side, Sequence[Example]] = {Side.TRAIN: run.train, Side.QUERY: run.queries}
    if any(Resource.REFERENCES in m.requires for m in chosen):
        rows[Side.REFERENCE] = run.references()
    with at_weights(run.model, run.path / FOLDER) as changed:
        return _Job(run, recipe, states, rows, changed).scores(chosen)


def not_randomised(m: Method) -> str | None:
    """Why a method cannot be asked about randomised weights; None where it can."""
    lacking = sorted(m.requires - {Resource.REFERENCES, Resource.EMBEDDER})
    if lacking:
        return f"needs {lacking[0].value}; randomised weights have none"
    if any(need.at is At.DRAWS for need in m.needs):
        return "needs weights drawn around the final ones, which would have to be drawn anew"
    return None


def permuted(state: Mapping[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Weights with the entries of each matrix in another order.

    Args:
        state: weights by name.
        seed: which order; it depends on the name and size too, so that the states of one run are
            permuted alike, and matrices of one size are not.
    """
    found = {}
    for name, values in state.items():
        rng = np.random.default_rng([seed, values.numel(), *name.encode()])
        order = torch.from_numpy(rng.permutation(values.numel()))
        found[name] = values.flatten()[order].reshape(values.shape).contiguous()
    return found


def _randomised_states(run: Run, states: States, ats: set[At], seed: int) -> States:
    """The states that are looked at, with permuted weights in their folders; made unless they are there."""
    folder, trained = run.path / FOLDER, trained_state(run.model.model)
    if not trained:
        raise SettingError(
            f"{run.path}: the model has no trained weights, so there is nothing to randomise."
        )
    _claim(folder, {"weights": state_digest(trained), "seed": seed})
    _write(folder, trained, seed)

    def moved(state: State) -> State:
        if state.folder is None:
            return state
        _write(folder / state.name, load_file(state.folder / _WEIGHTS), seed)
        return replace(state, folder=folder / state.name)

    checkpoints = states.checkpoints if At.CHECKPOINTS in ats else ()
    base = states.base if At.BASE in ats else None
    return States(tuple(map(moved, checkpoints)), None if base is None else moved(base))


def _claim(folder: Path, about: dict[str, Any]) -> None:
    """Makes a folder for what is made from `about`; what was made from something else is thrown away."""
    card = folder / "made-from.json"
    if folder.is_dir() and not (card.is_file() and read_json(card) == about):
        remove_ours(folder)
    if not folder.is_dir():
        folder.mkdir(parents=True)
        mark_ours(folder)
        write_json(card, about)


def _write(folder: Path, state: Mapping[str, torch.Tensor], seed: int) -> None:
    path = folder / _WEIGHTS
    if not path.is_file():
        with atomic_path(path) as temporary:
            save_file(permuted(state, seed), temporary)


class _Job:
    """One recipe's passes at the randomised states, and what is scored from them."""

    def __init__(
        self,
        run: Run,
        recipe: Recipe,
        states: States,
        rows: Mapping[Side, Sequence[Example]],
        changed: LoadedModel,
    ) -> None:
        self.run, self.recipe, self.states, self.rows = run, recipe, states, rows
        self.changed = changed
        self.renderer = Renderer(changed.tokenizer, recipe)
        self.folder = run.path / FOLDER / recipe.name
        self.signals = self.folder / "signals"

    def scores(self, methods: Sequence[Method]) -> dict[str, Scores]:
        paths = {m.spec: self.folder / f"{file_name(m.spec)}.parquet" for m in methods}
        made_from = {m.spec: self._made_from(m) for m in methods}
        found = {spec: _read(path, made_from[spec]) for spec, path in paths.items()}
        todo = [m for m in methods if found[m.spec] is None]
        if todo:
            self._tell(todo)
            # batches change no score, but signals of other batches do not fit those that are there
            _claim(self.signals, {"signals": self._identity(list(self.rows), _PASS)})
            with self.run.card.timed(f"randomised model ({self.recipe.name})"):
                evidence = assemble(
                    todo, self.states, self.rows, self.recipe, self._capture, self.changed.model
                )
                scored = score_all(todo, evidence).scores
            for one in scored:
                kept = replace(one, settings=one.settings | {_MADE_FROM: made_from[one.method]})
                write_scores(kept, paths[one.method])
                found[one.method] = kept
            remove_ours(self.signals)
        return {spec: one for spec, one in found.items() if one is not None}

    def _capture(self, one: PlannedPass) -> tuple[Source, FactorSums | None]:
        with in_state(self.changed, one.state) as model:
            found = index_rows(
                model,
                self.renderer,
                self.rows[one.side],
                one.needs,
                self.run.passing,
                self.signals / one.state.name / one.side.value,
                what=f"{one.side.value} at randomised {one.state.name} ({self.recipe.name})",
            )
        return found.source, found.factors

    def _made_from(self, m: Method) -> str:
        sides = [Side.TRAIN, Side.QUERY]
        sides += [Side.REFERENCE] if Resource.REFERENCES in m.requires else []
        return self._identity(sides, _SEEN)

    def _identity(self, sides: Sequence[Side], settings: Sequence[str]) -> str:
        index = self.run.passing.model_dump(mode="json", include=set(settings))
        rows = {side.value: rows_digest(self.rows[side]) for side in sides}
        damping = [self.recipe.damping_rule, self.recipe.damping]
        return digest_value(
            [self.changed.identity | self.renderer.identity(), rows, damping, index]
        )

    def _tell(self, methods: Sequence[Method]) -> None:
        passes = merge({need for m in methods for need in m.needs}, self.states)
        if not passes:
            return
        tokens = {side: self.renderer.render_all(rows) for side, rows in self.rows.items()}
        counts = {side: sum(len(row.ids) for row in found) for side, found in tokens.items()}
        settings = self.run.passing
        size = sum(
            bytes_per_row(self.changed, tokens[one.side], one.needs, settings)
            * len(tokens[one.side])
            for one in passes
        )
        after = ""
        if "speed" in self.run.card.entries:
            speed = Speed(**self.run.card.entries["speed"])
            each = {one: speed.forward + one.backwards * speed.backward for one in passes}
            seconds = sum(counts[one.side] * cost for one, cost in each.items())
            after = (
                f", about {seconds / 60:.0f} min" if seconds >= 120 else f", about {seconds:.0f} s"
            )
        say(
            f"randomised model ({self.recipe.name}): {len(methods)} methods, {len(passes)} passes over "
            f"{sum(counts[one.side] for one in passes):,} tokens{after}; {size / 1e9:.1f} GB on disk until "
            "they are scored"
        )


def _read(path: Path, made_from: str) -> Scores | None:
    if not path.is_file():
        return None
    found = read_scores(path)
    return found if found.settings.get(_MADE_FROM) == made_from else None
