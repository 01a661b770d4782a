"""Reference answers: what a query's response is contrasted with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from wherefrom.data import Example, Renderer, read_snapshot, write_snapshot
from wherefrom.models import LoadedModel, generate, load_model
from wherefrom.signals import Side

if TYPE_CHECKING:
    from wherefrom.run._run import Run

COLUMN = "reference"


def given_references(queries: Sequence[Example]) -> list[Example] | None:
    """The queries with their `reference` column as the response; None unless every query has one."""
    texts = [query.metadata.get(COLUMN) for query in queries]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        return None
    return [q.with_response(str(text)) for q, text in zip(queries, texts, strict=True)]


def references(run: Run) -> dict[str, list[Example]]:
    """The queries with a reference answer: their `reference` column, else the base model's answer, kept.

    Returns:
        By suffix of each batch of queries.
    """
    return {
        suffix: _references(run, rows, suffix) for suffix, rows in run.parts(Side.QUERY).items()
    }


def _references(run: Run, queries: Sequence[Example], suffix: str) -> list[Example]:
    given = given_references(queries)
    if given is not None:
        return given
    path = run.path / "data" / f"references{suffix}.jsonl"
    if not path.is_file():
        limit = run.task.max_new_tokens if run.task else 64
        write_snapshot(base_answers(run, queries, limit), path)
    return read_snapshot(path)


@contextmanager
def base_model(run: Run) -> Iterator[LoadedModel]:
    """The model before fine-tuning: without its adapter, or loaded anew where all weights moved."""
    model = run.model.model
    if hasattr(model, "disable_adapter"):
        with model.disable_adapter():
            yield run.model
    else:
        yield load_model(
            run.config.model,
            device_map=run.config.device_map,
            trust_remote_code=run.config.trust_remote_code,
        )


def base_answers(run: Run, queries: Sequence[Example], max_new_tokens: int) -> list[Example]:
    """The queries answered greedily by the model before fine-tuning.

    An answer that is empty, or the very response, still has its end-of-turn token to be contrasted.
    """
    renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
    prompts = [renderer.prompt_ids(query.with_response("answer")) for query in queries]
    with base_model(run) as base:
        answers = generate(base, prompts, max_new_tokens, label="reference answers")
    return [q.with_response(text.strip()) for q, text in zip(queries, answers, strict=True)]
