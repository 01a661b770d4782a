"""Stages: the states of a run's model with their weights and signals, as checks see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file

from wherefrom.data import Recipe
from wherefrom.diagnose import Stage
from wherefrom.methods import Point
from wherefrom.models import read_moments, trained_state
from wherefrom.run._gather import Read
from wherefrom.run._states import PlannedPass, State
from wherefrom.signals import Kind, Need, Side, Source

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_KINDS = (Kind.GRADIENT, Kind.LOSS, Kind.HIDDEN, Kind.ERROR)
"""What checks read at every state: one forward and one backward pass."""
_WEIGHTS = "weights.safetensors"


def states_of(run: Run, recipe: Recipe) -> list[State]:
    """The states in the order of training, the last one final."""
    known = run.states(recipe)
    end = [] if any(one.is_final for one in known.checkpoints) else [known.final]
    return [*([known.base] if known.base else []), *known.checkpoints, *end]


def along_the_run(run: Run, recipe: Recipe) -> list[State]:
    """The states that a verdict is told from: those that stand for a part of the run, else the end."""
    known = run.states(recipe)
    return list(known.checkpoints) or [known.final]


def passes_at(state: State, kinds: Sequence[Kind] = _KINDS) -> list[PlannedPass]:
    """The passes that checks need at a state, over training rows and queries."""
    return [
        PlannedPass(state, side, frozenset(Need(kind, side=side) for kind in kinds))
        for side in (Side.TRAIN, Side.QUERY)
    ]


def gradients_at(state: State) -> list[PlannedPass]:
    """The passes that a verdict needs at a state, over training rows and queries."""
    return passes_at(state, [Kind.GRADIENT])


def indexed(
    run: Run, recipe: Recipe, own: Sequence[PlannedPass], state: State
) -> list[PlannedPass]:
    """The passes of a verdict at a state, and what a method of its own needs if the index has that;
    none where it lacks the rows' gradients.
    """
    plain = gradients_at(state)
    if not run.is_stored(recipe, plain[0]):
        return []
    more = with_own(state, own, [Kind.GRADIENT])
    return more if all(run.is_stored(recipe, p) for p in more if p.side is Side.TRAIN) else plain


def with_own(
    state: State, own: Sequence[PlannedPass], kinds: Sequence[Kind] = _KINDS
) -> list[PlannedPass]:
    """The same and what a method of its own needs at the final model, here too."""
    found = []
    for one in passes_at(state, kinds):
        more = [p.needs for p in own if p.state.is_final and p.side is one.side]
        found.append(replace(one, needs=one.needs.union(*more)))
    return found


def stages_of(
    run: Run,
    recipe: Recipe,
    read: Read,
    passes: Callable[[State], Sequence[PlannedPass]],
    *,
    moments: bool = False,
) -> list[Stage]:
    """The stages of a run.

    Args:
        run: whose.
        recipe: of the pass.
        read: gives the signals of one pass.
        passes: whose signals a stage has; a stage of none has its weights alone.
        moments: read the final model's optimizer state too, where it was kept.
    """
    found = []
    for state in states_of(run, recipe):
        point = point_at(state, read, passes(state))
        folder = run.states(recipe).moments if moments and state.is_final else None
        if folder is not None:
            point = replace(point, moments=read_moments(folder, run.model.model))
        found.append(Stage(state.name, state.step, _weights(run, state), point))
    return found


def point_at(state: State, read: Read, passes: Sequence[PlannedPass]) -> Point:
    """A state with the signals of its passes."""
    sources: dict[Side, Source] = {}
    point = Point(state.name, sources, state.rate, state.steps)
    for one in passes:
        sources[one.side], factors = read(one)
        point = point if factors is None else replace(point, factors=factors)
    return point


def scaling_of(model: Any) -> float | None:
    """α/r of a model's LoRA adapters; None where it has none."""
    for module in model.modules():
        held = getattr(module, "scaling", None)
        if isinstance(held, Mapping) and held and hasattr(module, "lora_A"):
            return float(next(iter(held.values())))
    return None


def _weights(run: Run, state: State) -> dict[str, np.ndarray]:
    held = (
        trained_state(run.model.model)
        if state.folder is None
        else load_file(state.folder / _WEIGHTS)
    )
    return {name: value.to(torch.float32).numpy() for name, value in held.items()}
