"""Trace: queries against an indexed run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wherefrom.answers import Answer
from wherefrom.data import Example, Renderer, whole_text
from wherefrom.errors import SettingError
from wherefrom.models import generate
from wherefrom.run._answer_check import check_answers, make_verdict_passes
from wherefrom.run._asked import asking, evidence_for, methods_for
from wherefrom.run._calibration import calibrated
from wherefrom.run._null import score_with_nulls
from wherefrom.scores import Scores
from wherefrom.signals import Side

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
    require_text("prompt", prompt)
    if response is not None:
        require_text("response", response)
    query = Example.of("query", prompt, response or "")
    return trace_all(run, [query], methods, max_new_tokens, verify)[0]


def require_text(name: str, text: str) -> None:
    """Refuses a prompt or response that says nothing, or is no text.

    Raises:
        SettingError: it is empty.
        DataError: it holds half a character.
    """
    if not text.strip():
        raise SettingError(f"the {name} is empty; there is nothing to explain.")
    whole_text(text, f"the {name}")


def trace_all(
    run: Run,
    queries: Sequence[Example],
    methods: Sequence[str],
    max_new_tokens: int,
    verify: bool = False,
) -> list[Answer]:
    """Scores many queries; see `Run.trace_all`."""
    begun = time.perf_counter()
    ids = [query.id for query in queries]
    twice = next((id for place, id in enumerate(ids) if id in ids[:place]), None)
    if twice is not None:
        raise SettingError(f"two queries have the id {twice!r}; make ids unique.")
    chosen = methods_for(run, methods)
    asked = with_answers(run, queries, max_new_tokens)
    if not asked:
        return []
    read = asking(run, {Side.QUERY: asked})
    evidence = evidence_for(run, asked, chosen, max_new_tokens, read)
    scores, nulls = score_with_nulls(chosen, evidence)
    scores = calibrated(run, scores)
    if verify:
        make_verdict_passes(run)
    verdicts = check_answers(run, asked, scores[0], read, verify=verify)
    train = tuple(run.train)
    each = (time.perf_counter() - begun) / len(asked)
    return [
        Answer(
            query=query,
            generated=not given.response.strip(),
            scores=tuple(_of(one, place) for one in scores),
            train=train,
            trust=trust,
            seconds=each,
            nulls=nulls,
        )
        for place, (query, given, trust) in enumerate(zip(asked, queries, verdicts, strict=True))
    ]


def with_answers(run: Run, queries: Sequence[Example], max_new_tokens: int) -> list[Example]:
    """The queries, those without a response answered by the model itself, greedily.

    Raises:
        SettingError: a prompt is empty, or the model answers one with nothing.
    """
    for query in queries:
        if not query.prompt.strip():
            raise SettingError(f"{_named(query)}: the prompt is empty; there is nothing to ask.")
    open_ = [query for query in queries if not query.response.strip()]
    if not open_:
        return list(queries)
    renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
    prompts = [renderer.prompt_ids(query.with_response("answer")) for query in open_]
    said = dict(
        zip(
            [query.id for query in open_],
            generate(run.model, prompts, max_new_tokens, quiet=len(prompts) == 1),
            strict=True,
        )
    )
    found = []
    for query in queries:
        if query.id in said:
            text = said[query.id].strip()
            if not text:
                raise SettingError(
                    f"{_named(query)}: the model answers with nothing; give a response."
                )
            query = query.with_response(text)
        found.append(query)
    return found


def _of(scores: Scores, place: int) -> Scores:
    held = scores.query_ids[place : place + 1]
    return replace(scores, values=scores.values[place : place + 1], query_ids=held)


def _named(query: Example) -> str:
    return query.source or f"query {query.id!r}"
