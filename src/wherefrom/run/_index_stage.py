"""The index stage of a run: plan, draw weights, pass over every state and side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from wherefrom.capture import Speed, measure_speed
from wherefrom.data import Recipe, Renderer
from wherefrom.errors import SettingError
from wherefrom.methods import Method, Resource
from wherefrom.models import draw_weights
from wherefrom.progress import say, track
from wherefrom.run._config import IndexSettings
from wherefrom.run._gather import in_state
from wherefrom.run._index import Indexed, batch_tokens, bytes_per_row, index_rows
from wherefrom.run._planner import Costs, Plan, make_plan, parse_duration
from wherefrom.run._policy import parse_size, settle_policy
from wherefrom.run._products import gram_passes, reduce_gradients
from wherefrom.run._replays import can_replay, make_replays, wanted
from wherefrom.run._states import PlannedPass
from wherefrom.signals import Policy, Side
from wherefrom.store import free_space, require_space
from wherefrom.world import world

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_SHARE = 0.9
"""Of what is free on the disk, what the signals of a run may take unless it is said."""


@dataclass(frozen=True)
class _Place:
    """What all passes of one recipe share."""

    recipe: Recipe
    renderer: Renderer
    restart: bool


def index_recipe(run: Run, recipe: Recipe, chosen: Sequence[Method], restart: bool) -> None:
    """Plans the passes of a recipe, says what they cost, and makes those that are missing.

    Of several processes the first one prepares (plan, draws, replays), all share the passes.

    Args:
        run: whose.
        recipe: of the pass.
        chosen: methods whose needs are to be met; those that cannot run are noted on the card.
        restart: throw away signals that are there.

    Raises:
        StoreError: the disk cannot hold the signals.
        SettingError: another policy is asked for than the signals that are there were kept under.
    """
    with world().first_goes_first():
        run.card.reload()
        _ = run.model
        place, passes = _prepared(run, recipe, chosen, restart)
    draws = [one for one in passes if one.state.is_draw]
    for one in passes:
        if one.state.is_draw:
            continue
        with run.card.timed(f"index {one.side.value} at {one.state.name} ({recipe.name})"):
            _pass_over(run, one, place)
    if draws:
        label = f"index draws ({recipe.name})"
        with run.card.timed(label), track(label, len(draws)) as advance:
            for one in draws:
                _pass_over(run, one, place)
                advance(1)
    if run.policy is Policy.GRAM and world().first:
        with run.card.timed(f"products ({recipe.name})"):
            reduce_gradients(run, recipe, passes, restart=restart)


def _prepared(
    run: Run, recipe: Recipe, chosen: Sequence[Method], restart: bool
) -> tuple[_Place, list[PlannedPass]]:
    """What every pass needs, and the passes."""
    states = run.states(recipe)
    renderer = Renderer(run.model.tokenizer, recipe)
    resources = frozenset({Resource.REFERENCES})
    resources |= {Resource.MOMENTS} if states.moments else frozenset()
    resources |= {Resource.REPLAY} if can_replay(run, recipe) else frozenset()
    budget = parse_duration(run.config.budget) if run.config.budget else None
    costs = _costs(run, renderer) if budget is not None else None

    def planned(policy: Policy) -> Plan:
        return make_plan(chosen, states, resources, costs, budget, policy)

    def asked(plan: Plan) -> list[PlannedPass]:
        return [p for p in plan.passes if run.queries or p.side is Side.TRAIN]

    exact = asked(planned(Policy.EXACT))
    place = run.signals_place
    if world().first and exact:
        limit = run.config.index.disk
        most = parse_size(limit) if limit else _SHARE * free_space(place)
        settle_policy(
            run, most, exact, lambda s, p: _costs(run, renderer, s).disk(p), restart=restart
        )
    if run.policy is Policy.GRAM and not run.queries:
        raise SettingError(
            f"{run.path}: the policy gram keeps inner products with the queries, and there are none. Give "
            "--queries, or take --policy exact or projected."
        )
    plan = planned(run.policy)
    run.card.set("left out", run.card.entries.get("left out", {}) | plan.left_out)
    passes = asked(plan)
    if run.policy is Policy.GRAM:
        passes = gram_passes(run, recipe, passes, restart=restart)
    todo = [p for p in passes if restart or not run.is_stored(recipe, p)]
    costs = _costs(run, renderer) if todo else None
    for line in plan.describe(costs, todo):
        say(line)
    if world().first and costs is not None:
        require_space(place, int(costs.disk(passes)))
    if world().first:
        if any(p.side is Side.REFERENCE for p in passes):
            run.references()
        _make_draws(run, recipe, renderer, todo, restart)
        make_replays(run, recipe, wanted(plan.methods))
    return _Place(recipe, renderer, restart), passes


def _make_draws(
    run: Run, recipe: Recipe, renderer: Renderer, todo: Sequence[PlannedPass], restart: bool
) -> None:
    if not any(one.state.is_draw for one in todo):
        return
    tokens = renderer.render_all(run.train)
    index = run.config.index
    with run.card.timed(f"draw weights ({recipe.name})"):
        draw_weights(
            run.model, tokens, run.draws(recipe), index.draws, index.draw_radius, restart=restart
        )


def make_passes(run: Run, recipe: Recipe, passes: Sequence[PlannedPass], what: str) -> None:
    """Makes passes that no method asked for, after saying what they cost; what is there is not made again.

    Args:
        run: whose.
        recipe: of the pass.
        passes: over training rows and queries.
        what: what they are for.
    """
    todo = [one for one in passes if not run.is_stored(recipe, one)]
    if not todo:
        return
    renderer = Renderer(run.model.tokenizer, recipe)
    for line in Plan((), {}, tuple(passes)).describe(_costs(run, renderer), todo, what):
        say(line)
    place = _Place(recipe, renderer, restart=False)
    for one in todo:
        with run.card.timed(f"index {one.side.value} at {one.state.name} ({recipe.name})"):
            _pass_over(run, one, place)


def _pass_over(run: Run, one: PlannedPass, place: _Place) -> None:
    for suffix, rows in run.parts(one.side).items():
        with in_state(run.model, one.state) as model:
            indexed = index_rows(
                model,
                place.renderer,
                rows,
                one.needs,
                run.passing,
                run.signals(place.recipe, one, suffix),
                restart=place.restart,
                what=f"{one.side.value}{suffix} at {one.state.name} ({place.recipe.name})",
                quiet=one.state.is_draw,
                share=world(),
            )
        if one.state.is_final:
            _note(run, one, indexed)
    run.card.set("model", run.model.identity)


def _note(run: Run, one: PlannedPass, indexed: Indexed) -> None:
    if indexed.note:
        run.card.note(indexed.note)
    if one.backwards:
        run.card.set("coverage", indexed.coverage.describe())
        if indexed.coverage.share < 1:
            run.warn(indexed.coverage.describe())


def _costs(run: Run, renderer: Renderer, settings: IndexSettings | None = None) -> Costs:
    """What a pass costs; the speed is measured once, so that a budget keeps meaning the same methods."""
    index = run.passing if settings is None else settings
    tokens = {
        Side.TRAIN: renderer.render_all(run.train),
        Side.QUERY: renderer.render_all(run.queries),
    }
    counts = {side: sum(len(row.ids) for row in found) for side, found in tokens.items()}
    weights = sum(p.numel() * p.element_size() for p in run.model.model.parameters())
    vocabulary = run.model.model.config.get_text_config().vocab_size
    if "speed" not in run.card.entries:
        run.card.set("speed", asdict(measure_speed(run.model, tokens[Side.TRAIN], index.blocks)))
    return Costs(
        Speed(**run.card.entries["speed"]),
        # reference answers are about as long as the responses
        counts | {Side.REFERENCE: counts[Side.QUERY]},
        {Side.TRAIN: len(run.train), Side.QUERY: len(run.queries)}
        | {Side.REFERENCE: len(run.queries)},
        lambda needs: bytes_per_row(run.model, tokens[Side.TRAIN], needs, index),
        weights + 12.0 * batch_tokens(run.model, index) * vocabulary + 1e9,
        min(8, len(run.train)) * 2 * index.draws * counts[Side.TRAIN] // len(run.train),
    )
