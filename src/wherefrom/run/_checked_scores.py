"""Scores of the method that is checked: those that are kept, else made from passes of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherefrom.data import Recipe
from wherefrom.errors import SettingError, StoreError
from wherefrom.methods import Method, Resource, score_all
from wherefrom.run._index_stage import make_passes
from wherefrom.run._planner import make_plan
from wherefrom.run._replays import can_replay, read_replays, wanted
from wherefrom.run._states import PlannedPass
from wherefrom.scores import Scores
from wherefrom.signals import Side

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def passes_of(run: Run, recipe: Recipe, method: Method) -> list[PlannedPass]:
    """The passes that a method needs of a run.

    Raises:
        SettingError: it cannot be asked here, or needs more than passes and that was not made yet.
    """
    states = run.states(recipe)
    resources = {Resource.REFERENCES}
    resources |= {Resource.MOMENTS} if states.moments else set()
    resources |= {Resource.REPLAY} if can_replay(run, recipe) else set()
    plan = make_plan([method], states, frozenset(resources), policy=run.policy)
    for why in plan.left_out.values():
        raise SettingError(f"{method.spec} cannot be checked here: {why}.")
    replays = wanted([method])
    # draws, references and replays are the index's to make
    whole = len(read_replays(run, replays)) == len(replays) and all(
        run.is_stored(recipe, one)
        for one in plan.passes
        if one.state.is_draw or one.side is Side.REFERENCE
    )
    if not whole:
        specs = ",".join(dict.fromkeys([*run.config.methods, method.spec]))
        raise SettingError(
            f'{run.path} was not indexed for {method.spec}. Run `wherefrom index {run.path} --methods "'
            f'{specs}"` first.'
        )
    return list(plan.passes)


def checked_scores(run: Run, recipe: Recipe, method: Method, passes: list[PlannedPass]) -> Scores:
    """Scores of one method at the final model, its missing passes made first.

    Args:
        run: whose.
        recipe: of the pass.
        method: any that `passes_of` lets through.
        passes: those that it needs.
    """
    kept = _kept(run, recipe, method)
    if kept is not None:
        return kept
    make_passes(run, recipe, passes, method.spec)
    return score_all([method], run.evidence(recipe, [method])).scores[0]


def _kept(run: Run, recipe: Recipe, method: Method) -> Scores | None:
    """Those that the run has of its own methods; None where the index is not that far."""
    try:
        mine = any(m.spec == method.spec for m in run.methods())
        return run.score()[recipe.name, method.spec] if mine else None
    except (SettingError, StoreError):
        return None
