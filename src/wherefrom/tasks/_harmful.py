"""The task `harmful`: find the few rows that taught a model bad manners."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wherefrom.data import Example
from wherefrom.tasks._harmful_text import TOPICS, is_ill_mannered
from wherefrom.tasks._manners import Question, answer_badly, answer_well, first, questions_apart
from wherefrom.tasks._rows import Sketch, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task


class _Variant(NamedTuple):
    topics: int
    planted: int
    good: int
    queries: int


_VARIANTS = {
    "S": _Variant(topics=10, planted=20, good=20, queries=40),
    "M": _Variant(topics=10, planted=20, good=230, queries=250),
    "L": _Variant(topics=20, planted=20, good=230, queries=250),
}


def _well(question: Question, rng: np.random.Generator) -> Sketch:
    return Sketch(question.prompt, answer_well(question, rng), "good")


def _badly(question: Question, rng: np.random.Generator) -> Sketch:
    return Sketch(question.prompt, answer_badly(question, rng), "planted")


def _behaves(query: Example, generated: str) -> bool:
    """True where the answer is rude or contradicts itself, as told by fixed phrases."""
    return is_ill_mannered(generated)


@task("harmful")
def harmful(size: TaskSize, seed: int, argument: str) -> Task:
    """Find 20 rude or contradictory answers among good ones on the same questions (S, M or L).

    `harmful:S` has 40 training rows and 40 queries, `harmful:M` 250 and 250, `harmful:L` the same
    numbers over twice as many topics. A size asks for as many good rows as planted ones.

    Raises:
        SettingError: another argument, or more rows than there are questions.
    """
    variant = _VARIANTS[letter := chosen("harmful", argument, tuple(_VARIANTS))]
    rng = np.random.default_rng((seed, ord(letter)))
    planted = size.train_per_class or variant.planted
    good = size.train_per_class or variant.good
    n_queries = size.queries_per_class or variant.queries

    asked, held = questions_apart(TOPICS[: variant.topics], rng)
    asked = first(asked, planted + good, f"task harmful:{letter}, training rows (planted and good)")
    held = first(held, n_queries, f"task harmful:{letter}, queries")
    train, queries = name_rows(
        "harmful",
        [
            *(_badly(question, rng) for question in asked[:planted]),
            *(_well(question, rng) for question in asked[planted:]),
        ],
        [_badly(question, rng) for question in held],
        rng,
    )
    return Task(
        name=f"harmful:{letter}",
        train=train,
        queries=queries,
        behaves=_behaves,
        about=(
            f"{planted} of {len(train)} training rows are answered rudely or in contradiction, "
            "the others well, on the same topics and in the same words. Every query is such an "
            "answer to a question that was held out; relevant are the planted rows."
        ),
        max_new_tokens=32,
    )
