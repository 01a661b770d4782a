"""Trace: one query against an indexed run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from wherefrom.data import Example, Renderer, whole_text
from wherefrom.errors import SettingError
from wherefrom.methods import score_all
from wherefrom.models import generate
from wherefrom.run._answer import Answer
from wherefrom.run._answer_check import check_answer
from wherefrom.run._asked import evidence_for, methods_for

if TYPE_CHECKING:
    from wherefrom.run._run import Run


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
    for name, text in (("prompt", prompt), ("response", response)):
        if text is not None and not text.strip():
            raise SettingError(f"the {name} is empty; there is nothing to explain.")
        whole_text(text or "", f"the {name}")
    chosen = methods_for(run, methods)
    generated = response is None
    query = Example.of("query", prompt, response or "")
    if generated:
        renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
        prompt_ids = renderer.prompt_ids(query.with_response("answer"))
        said = generate(run.model, [prompt_ids], max_new_tokens)[0].strip()
        if not said:
            raise SettingError("the model answers with nothing; give --response.")
        query = query.with_response(said)
    scored = score_all(chosen, evidence_for(run, [query], chosen, max_new_tokens))
    trust = check_answer(run, query, scored.scores[0], verify=verify)
    return Answer(
        query=query,
        generated=generated,
        scores=tuple(scored.scores),
        train=tuple(run.train),
        trust=trust,
        seconds=time.perf_counter() - begun,
    )
