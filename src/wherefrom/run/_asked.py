"""Questions that a run was not made with: which methods can answer, and evidence for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Renderer
from wherefrom.errors import SettingError
from wherefrom.methods import Evidence, Method, Resource, select_methods
from wherefrom.run._gather import Read, assemble, in_memory, once
from wherefrom.run._index import absent
from wherefrom.run._planner import make_plan
from wherefrom.run._products import require_gradients
from wherefrom.run._references import base_answers
from wherefrom.run._states import PlannedPass, States
from wherefrom.signals import Side, Source

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def methods_for(run: Run, specs: Sequence[str]) -> list[Method]:
    """The methods that specs name; `all` stands for those that the run was indexed for.

    Raises:
        SettingError: a spec means nothing, or its method cannot answer new questions here.
    """
    named = [s for m in specs for s in ([c.spec for c in run.methods()] if m == "all" else [m])]
    chosen = select_methods(named)
    states = _states(run, chosen)
    resources = {Resource.REFERENCES, *([Resource.MOMENTS] if states.moments else [])}
    require_gradients(run, chosen)
    left_out = make_plan(chosen, states, frozenset(resources), policy=run.policy).left_out
    for spec, why in left_out.items():
        raise SettingError(f"{spec} cannot run here: {why}.")
    return chosen


def asking(run: Run, rows: Mapping[Side, Sequence[Example]]) -> Read:
    """Captures signals of rows in memory, each pass once however often it is asked for."""

    def read(one: PlannedPass) -> tuple[Source, FactorSums | None]:
        renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
        return in_memory(run.model, renderer, rows, run.passing)(one)

    return once(read)


def evidence_for(
    run: Run,
    queries: Sequence[Example],
    chosen: Sequence[Method],
    max_new_tokens: int = 64,
    asked: Read | None = None,
) -> Evidence:
    """Evidence for queries: training signals as they are stored, the queries' own captured in memory.

    Args:
        run: an indexed one.
        queries: prompts and responses.
        chosen: whose needs are to be met.
        max_new_tokens: longest reference answer.
        asked: captures the queries' signals; made here when None.

    Raises:
        SettingError: the run was not indexed for a method.
        IdentityError: the index is of another model, adapter or template.
    """
    recipe = run.config.recipes()[0]
    needs = any(m.needs for m in chosen)
    states = _states(run, chosen)
    rows: dict[Side, Sequence[Example]] = {Side.TRAIN: run.train, Side.QUERY: queries}
    if any(Resource.REFERENCES in m.requires for m in chosen):
        rows[Side.REFERENCE] = base_answers(run, queries, max_new_tokens)
    captured = asking(run, rows)
    by_side = {Side.QUERY: asked or captured, Side.REFERENCE: captured}

    def signals(one: PlannedPass) -> tuple[Source, FactorSums | None]:
        if one.side is Side.TRAIN:
            lacking = absent(run.signals(recipe, one), one.needs)
            if lacking:
                specs = ",".join(m.spec for m in chosen)
                raise SettingError(
                    f"{run.path} was not indexed for this: no {', '.join(lacking)} of the training rows "
                    f'at {one.state.name}. Run `wherefrom index {run.path} --methods "{specs}"` first.'
                )
            return run.stored(recipe, one)
        return by_side[one.side](one)

    model = run.model.model if needs else None
    return assemble(chosen, states, rows, recipe, signals, model)


def _states(run: Run, chosen: Sequence[Method]) -> States:
    return run.states(run.config.recipes()[0]) if any(m.needs for m in chosen) else States()
