"""The index stage of a run: plan, draw weights, pass over every state and side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from wherefrom.capture import Speed, measure_speed
from wherefrom.data import Example, Recipe, Renderer
from wherefrom.methods import Method, Resource
from wherefrom.models import draw_weights
from wherefrom.progress import say, track
from wherefrom.run._gather import in_state
from wherefrom.run._index import bytes_per_row, index_rows
from wherefrom.run._planner import Costs, Plan, make_plan, parse_duration
from wherefrom.run._replays import can_replay, make_replays, wanted
from wherefrom.run._states import PlannedPass
from wherefrom.signals import Side

if TYPE_CHECKING:
    from wherefrom.run._run import Run


@dataclass(frozen=True)
class _Place:
    """What all passes of one recipe share."""

    recipe: Recipe
    renderer: Renderer
    rows: Mapping[Side, Sequence[Example]]
    restart: bool


def index_recipe(run: Run, recipe: Recipe, chosen: Sequence[Method], restart: bool) -> None:
    """Plans the passes of a recipe, says what they cost, and makes those that are missing.

    Args:
        run: whose.
        recipe: of the pass.
        chosen: methods whose needs are to be met; those that cannot run are noted on the card.
        restart: throw away signals that are there.
    """
    states = run.states(recipe)
    renderer = Renderer(run.model.tokenizer, recipe)
    rows: dict[Side, Sequence[Example]] = {Side.TRAIN: run.train, Side.QUERY: run.queries}
    resources = frozenset({Resource.REFERENCES})
    resources |= {Resource.MOMENTS} if states.moments else frozenset()
    resources |= {Resource.REPLAY} if can_replay(run, recipe) else frozenset()
    budget = parse_duration(run.config.budget) if run.config.budget else None
    costs = _costs(run, renderer) if budget is not None else None
    plan = make_plan(chosen, states, resources, costs, budget)
    run.card.set("left out", plan.left_out)
    passes = [p for p in plan.passes if run.queries or p.side is Side.TRAIN]
    todo = [p for p in passes if restart or not run.is_stored(recipe, p)]
    for line in plan.describe(_costs(run, renderer) if todo else None, todo):
        say(line)
    if any(p.side is Side.REFERENCE for p in passes):
        rows[Side.REFERENCE] = run.references()
    if any(p.state.is_draw for p in todo):
        tokens = renderer.render_all(run.train)
        index = run.config.index
        folder = run.draws(recipe)
        with run.card.timed(f"draw weights ({recipe.name})"):
            draw_weights(run.model, tokens, folder, index.draws, index.draw_radius, restart=restart)
    place = _Place(recipe, renderer, rows, restart)
    make_replays(run, recipe, wanted(plan.methods))
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
    rows: dict[Side, Sequence[Example]] = {Side.TRAIN: run.train, Side.QUERY: run.queries}
    place = _Place(recipe, renderer, rows, restart=False)
    for one in todo:
        with run.card.timed(f"index {one.side.value} at {one.state.name} ({recipe.name})"):
            _pass_over(run, one, place)


def _pass_over(run: Run, one: PlannedPass, place: _Place) -> None:
    with in_state(run.model, one.state) as model:
        indexed = index_rows(
            model,
            place.renderer,
            place.rows[one.side],
            one.needs,
            run.config.index,
            run.signals(place.recipe, one),
            restart=place.restart,
            what=f"{one.side.value} at {one.state.name} ({place.recipe.name})",
            quiet=one.state.is_draw,
        )
    run.card.set("model", run.model.identity)
    if not one.state.is_final:
        return
    if indexed.note:
        run.card.note(indexed.note)
    if one.backwards:
        run.card.set("coverage", indexed.coverage.describe())
        if indexed.coverage.share < 1:
            run.warn(indexed.coverage.describe())


def _costs(run: Run, renderer: Renderer) -> Costs:
    """What a pass costs; the speed is measured once, so that a budget keeps meaning the same methods."""
    index = run.config.index
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
        weights + 12.0 * index.batch_tokens * vocabulary + 1e9,
        min(8, len(run.train)) * 2 * index.draws * counts[Side.TRAIN] // len(run.train),
    )
