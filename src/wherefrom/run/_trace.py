"""Trace: one query against an indexed run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wherefrom.data import Example, Renderer, whole_text
from wherefrom.errors import SettingError
from wherefrom.methods import Evidence, score_all, select_methods
from wherefrom.models import generate
from wherefrom.run._answer import Answer
from wherefrom.run._index import index_rows
from wherefrom.signals import Need, Source

if TYPE_CHECKING:
    from wherefrom.run._run import Run

DEFAULT_METHOD = "influence"


def trace(
    run: Run, prompt: str, response: str | None, methods: Sequence[str], max_new_tokens: int
) -> Answer:
    """Scores one query; see `Run.trace`."""
    begun = time.perf_counter()
    recipe = run.config.recipes()[0]
    # of a run, all means all that it was indexed for
    specs = [s for m in methods for s in (run.config.methods if m == "all" else (m,))]
    chosen = select_methods(specs)
    for name, text in (("prompt", prompt), ("response", response)):
        if text is not None and not text.strip():
            raise SettingError(f"the {name} is empty; there is nothing to explain.")
        whole_text(text or "", f"the {name}")
    needs = frozenset(need for m in chosen for need in m.needs) - {Need.TEXT}
    train = run.source(recipe, "train") if needs else None
    generated = response is None
    query = Example.of("query", prompt, response or "")
    source: Source | None = None
    if generated or needs:
        renderer = Renderer(run.model.tokenizer, recipe)
        if response is None:
            prompt_ids = renderer.prompt_ids(Example.of("query", prompt, "answer"))
            response = generate(run.model, [prompt_ids], max_new_tokens)[0].strip()
            if not response:
                raise SettingError("the model answers with nothing; give --response.")
            query = query.with_response(response)
        if needs:
            source = index_rows(run.model, renderer, [query], needs, run.config.index).source
    evidence = Evidence(run.train, [query], train, source, recipe)
    scored = score_all(chosen, evidence)
    return Answer(
        query=query,
        generated=generated,
        scores=tuple(scored.scores),
        train=tuple(run.train),
        seconds=time.perf_counter() - begun,
    )
