"""Gathering: the signals of planned passes put together into evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe, Renderer
from wherefrom.methods import Evidence, Method, Point, Products, Resource
from wherefrom.models import LoadedModel, at_weights, read_moments
from wherefrom.run._config import IndexSettings
from wherefrom.run._index import index_rows
from wherefrom.run._states import PlannedPass, State, States, merge
from wherefrom.signals import At, Need, Side, Source

Read = Callable[[PlannedPass], tuple[Source, FactorSums | None]]


@contextmanager
def in_state(loaded: LoadedModel, state: State) -> Iterator[LoadedModel]:
    """The model in a state, for as long as the block lasts."""
    if state.folder is None:
        yield loaded
    else:
        with at_weights(loaded, state.folder) as changed:
            yield changed


def assemble(
    methods: Sequence[Method],
    states: States,
    rows: Mapping[Side, Sequence[Example]],
    recipe: Recipe,
    read: Read,
    model: Any = None,
    products: Callable[[State], Products | None] = lambda _: None,
) -> Evidence:
    """Evidence for methods, from wherever the signals of each pass are read.

    Args:
        methods: whose needs are to be met.
        states: the states of the model that there are.
        rows: examples by side.
        recipe: damping and the rest.
        read: gives the signals of one pass.
        model: the model, whose trainable parameters optimizer moments belong to.
        products: gives the products at a state, where they are all that was kept of gradients.
    """
    needs = {need for m in methods for need in m.needs}
    sources: dict[str, dict[Side, Source]] = {}
    factors: dict[str, FactorSums] = {}
    for one in merge(needs, states):
        source, sums = read(one)
        sources.setdefault(one.state.name, {})[one.side] = source
        if sums is not None:
            factors[one.state.name] = sums
    wants_moments = any(Resource.MOMENTS in m.requires for m in methods)
    ats = {need.at for need in needs}

    def point(state: State) -> Point:
        folder = states.moments if state.folder is None else state.folder
        return Point(
            state.name,
            sources.get(state.name, {}),
            state.rate,
            state.steps,
            read_moments(folder, model) if wants_moments and folder is not None else {},
            factors.get(state.name),
            products(state),
        )

    return Evidence(
        rows[Side.TRAIN],
        rows[Side.QUERY],
        recipe,
        point(states.final),
        [point(s) for s in states.checkpoints] if At.CHECKPOINTS in ats else [],
        point(states.base) if At.BASE in ats and states.base is not None else None,
        [point(s) for s in states.draws] if At.DRAWS in ats else [],
    )


def in_memory(
    loaded: LoadedModel,
    renderer: Renderer,
    rows: Mapping[Side, Sequence[Example]],
    settings: IndexSettings,
) -> Read:
    """Runs each pass when it is asked for and keeps its signals in memory."""

    def read(one: PlannedPass) -> tuple[Source, FactorSums | None]:
        with in_state(loaded, one.state) as model:
            found = index_rows(
                model,
                renderer,
                rows[one.side],
                one.needs,
                settings,
                what=f"{one.side.value} at {one.state.name}",
                quiet=one.state.is_draw,
            )
        return found.source, found.factors

    return read


def once(read: Read) -> Read:
    """The same, where a pass that was made for as much before is not made again."""
    made: dict[tuple[str, Side], tuple[frozenset[Need], tuple[Source, FactorSums | None]]] = {}

    def remembered(one: PlannedPass) -> tuple[Source, FactorSums | None]:
        place = (one.state.name, one.side)
        if place not in made or not one.needs <= made[place][0]:
            made[place] = one.needs, read(one)
        return made[place][1]

    return remembered
