"""Leftovers: signals of a model or a pass that the run has no more, and that no method of it makes anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wherefrom.atomic import remove_ours
from wherefrom.data import Recipe
from wherefrom.errors import SettingError, StoreError
from wherefrom.identity import require_same
from wherefrom.place import Place, names_in
from wherefrom.progress import say
from wherefrom.run._states import FINAL, PlannedPass, merge
from wherefrom.signals import Kind, Need, Side
from wherefrom.store import SignalStore

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_GRADIENT = Need(Kind.GRADIENT).slug
_FACTORS = Need(Kind.FACTORS).slug


def clear_leftovers(run: Run, recipe: Recipe, passes: Sequence[PlannedPass]) -> None:
    """Throws away what a check captured of a model that was replaced since, so that it is captured anew.

    `wherefrom index --restart` replaces what the run's own methods read, and no more.

    Args:
        run: whose.
        recipe: of the pass.
        passes: in whose folders to look.

    Raises:
        IdentityError: what the run's own methods read is of another model than the run has now.
    """
    own = _own(run, recipe)
    wanted = dict(run.model.identity)
    final = PlannedPass(FINAL, Side.TRAIN, frozenset({Need(Kind.GRADIENT)}))
    blocks = _identity(run.signals(recipe, final) / f"{_GRADIENT}.zarr").get("blocks")
    found = 0
    for one in passes:
        mine = own.get((one.state.name, one.side), frozenset())
        stale = []
        for folder, identity in _stores(run.signals(recipe, one)):
            slug = folder.stem
            expected = wanted | ({"blocks": blocks} if blocks and "blocks" in identity else {})
            held = {key: identity.get(key) for key in expected}
            if held == expected:
                continue
            if slug in mine:
                fix = f"Put it back, or index again: `wherefrom index {run.path} --restart`."
                require_same(held, expected, "the index", "the model of this run", fix)
            stale.append(folder)
        factors = run.signals(recipe, one) / _FACTORS
        if stale and _FACTORS not in mine and factors.is_dir():
            stale.append(factors)
        for folder in stale:
            remove_ours(folder)
        found += len(stale)
    if found:
        say("signals of another model or pass than this run has now: thrown away, to be made anew")


def _own(run: Run, recipe: Recipe) -> dict[tuple[str, Side], frozenset[str]]:
    """Slugs of what the run's own methods read, by state and side."""
    try:
        needs = {need for m in run.methods(recipe) for need in m.needs}
    except SettingError:
        return {}
    passes = merge(needs, run.states(recipe))
    return {(p.state.name, p.side): frozenset(n.slug for n in p.needs) for p in passes}


def _stores(folder: Place) -> Iterator[tuple[Place, dict[str, Any]]]:
    names = sorted(names_in(folder)) if folder.is_dir() else []
    for path in (folder / name for name in names if name.endswith(".zarr")):
        if identity := _identity(path):
            yield path, identity


def _identity(path: Place) -> dict[str, Any]:
    """What a store was made from; empty where there is none that can be read."""
    try:
        return SignalStore.open(path, finished=False).identity
    except StoreError:
        return {}
