"""Trace: one query against an indexed run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Renderer, whole_text
from wherefrom.errors import SettingError
from wherefrom.methods import Resource, score_all, select_methods
from wherefrom.models import generate
from wherefrom.run._answer import Answer
from wherefrom.run._answer_check import check_answer
from wherefrom.run._gather import assemble, in_memory
from wherefrom.run._index import absent
from wherefrom.run._planner import make_plan
from wherefrom.run._references import base_answers
from wherefrom.run._states import PlannedPass, States
from wherefrom.signals import Side, Source

if TYPE_CHECKING:
    from wherefrom.run._run import Run

DEFAULT_METHOD = "influence"


def trace(
    run: Run,
    prompt: str,
    response: str | None,
    methods: Sequence[str],
    max_new_tokens: int,
    verify: bool = False,
) -> Answer:
    """Scores one query; see `Run.trace`."""
    begun = time.perf_counter()
    recipe = run.config.recipes()[0]
    # of a run, all means all that it was indexed for
    specs = [s for m in methods for s in ([c.spec for c in run.methods()] if m == "all" else [m])]
    chosen = select_methods(specs)
    for name, text in (("prompt", prompt), ("response", response)):
        if text is not None and not text.strip():
            raise SettingError(f"the {name} is empty; there is nothing to explain.")
        whole_text(text or "", f"the {name}")
    needs = any(m.needs for m in chosen)
    generated = response is None
    query = Example.of("query", prompt, response or "")
    states = run.states(recipe) if needs else States()
    resources = {Resource.REFERENCES, *([Resource.MOMENTS] if states.moments else [])}
    left_out = make_plan(chosen, states, frozenset(resources)).left_out
    for spec, why in left_out.items():
        raise SettingError(f"{spec} cannot run here: it {why}.")
    rows: dict[Side, Sequence[Example]] = {Side.TRAIN: run.train, Side.QUERY: [query]}
    read = None
    if generated or needs:
        renderer = Renderer(run.model.tokenizer, recipe)
        if response is None:
            prompt_ids = renderer.prompt_ids(query.with_response("answer"))
            response = generate(run.model, [prompt_ids], max_new_tokens)[0].strip()
            if not response:
                raise SettingError("the model answers with nothing; give --response.")
            query = query.with_response(response)
            rows[Side.QUERY] = [query]
        if any(Resource.REFERENCES in m.requires for m in chosen):
            rows[Side.REFERENCE] = base_answers(run, [query], max_new_tokens)
        read = in_memory(run.model, renderer, rows, run.config.index)

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
        assert read is not None
        return read(one)

    model = run.model.model if needs else None
    evidence = assemble(chosen, states, rows, recipe, signals, model)
    scored = score_all(chosen, evidence)
    trust = check_answer(run, query, scored.scores[0], verify=verify)
    return Answer(
        query=query,
        generated=generated,
        scores=tuple(scored.scores),
        train=tuple(run.train),
        trust=trust,
        seconds=time.perf_counter() - begun,
    )
