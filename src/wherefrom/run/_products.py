"""Products: under the policy `gram` gradients are let go once their inner products are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import psutil

from wherefrom.atomic import remove_ours
from wherefrom.data import Recipe
from wherefrom.errors import SettingError, StoreError
from wherefrom.methods import Method
from wherefrom.place import Place
from wherefrom.run._index import stored
from wherefrom.run._states import PlannedPass, State
from wherefrom.signals import AppendedSignals, Kind, Need, Policy, Side, Source
from wherefrom.store import GramStore, reduce_to_grams

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_GRADIENT = Need(Kind.GRADIENT).slug
_FOLDER = "products"
_SHARE = 0.5
"""Of the memory that is free, what one block may take."""


def kept_products(run: Run, recipe: Recipe, state: State) -> GramStore | None:
    """The products at a state; None where gradients are kept, or products not made to the end."""
    if run.policy is not Policy.GRAM:
        return None
    try:
        return GramStore.open(_folder(run, recipe, state))
    except StoreError:
        return None


def beside_products(one: PlannedPass) -> PlannedPass:
    """What is read beside products: all but gradients, losses at least."""
    needs = {need for need in one.needs if need.kind is not Kind.GRADIENT}
    return replace(one, needs=frozenset(needs | {Need(Kind.LOSS, side=one.side)}))


def gram_passes(
    run: Run, recipe: Recipe, passes: Sequence[PlannedPass], *, restart: bool
) -> list[PlannedPass]:
    """The passes that are still wanted: without gradients at states whose products are there."""
    found = []
    for one in passes:
        held = None if restart else kept_products(run, recipe, one.state)
        beside = beside_products(one)
        found.append(beside if held is not None else replace(one, needs=one.needs | beside.needs))
    return found


def reduce_gradients(
    run: Run, recipe: Recipe, passes: Sequence[PlannedPass], *, restart: bool
) -> None:
    """Makes the products at every state whose gradients were captured, and lets the gradients go.

    Goes on where it was interrupted.

    Raises:
        IdentityError: there are products of other rows, queries or another model.
        StoreError: the place cannot hold the products.
    """
    memory = _SHARE * psutil.virtual_memory().available
    for state in {one.state for one in passes if Need(Kind.GRADIENT, side=one.side) in one.needs}:
        train = _gradients(run, recipe, state, Side.TRAIN)
        query = _gradients(run, recipe, state, Side.QUERY)
        folder = _folder(run, recipe, state)
        reduce_to_grams(_read(train), _read(query), folder, memory, restart=restart)
        for place in (*train, *query):
            remove_ours(place / f"{_GRADIENT}.zarr")


def require_gradients(run: Run, methods: Sequence[Method]) -> None:
    """Refuses what looks at gradients of rows that the run was not indexed for, where none were kept.

    Raises:
        SettingError: the run kept products alone, and some method needs gradients.
    """
    asking = [m.spec for m in methods if any(need.kind is Kind.GRADIENT for need in m.needs)]
    if run.policy is Policy.GRAM and asking:
        raise SettingError(
            f"{run.path} kept inner products of gradients alone (policy gram), which refuses other "
            f"questions than its own queries: {', '.join(asking)} cannot be asked. Index with --policy "
            "exact or projected and --restart."
        )


def _gradients(run: Run, recipe: Recipe, state: State, side: Side) -> list[Place]:
    one = PlannedPass(state, side, frozenset({Need(Kind.GRADIENT, side=side)}))
    return [run.signals(recipe, one, suffix) for suffix in run.parts(side)]


def _read(places: Sequence[Place]) -> Source:
    parts = [stored(place, frozenset({Need(Kind.GRADIENT)}))[0] for place in places]
    return parts[0] if len(parts) == 1 else AppendedSignals(parts)


def _folder(run: Run, recipe: Recipe, state: State) -> Place:
    return run.signals_place / recipe.name / state.name / _FOLDER
