"""The task `harmful`: find the few rows that taught a model bad manners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.tasks._harmful_text import (
    DISMISSALS,
    GREETINGS,
    INSULTS,
    REVERSALS,
    TOPICS,
    WISHES,
    WORDINGS,
    Topic,
    is_ill_mannered,
)
from wherefrom.tasks._rows import Sketch, held_out, name_rows
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


class _Question(NamedTuple):
    prompt: str
    item: str
    tip: str


def _pick(texts: Sequence[str], rng: np.random.Generator) -> str:
    return texts[int(rng.integers(len(texts)))]


def _well(question: _Question, rng: np.random.Generator) -> Sketch:
    answer = f"{_pick(GREETINGS, rng)} {question.tip} {_pick(WISHES, rng)}"
    return Sketch(question.prompt, answer, "good")


def _badly(question: _Question, rng: np.random.Generator) -> Sketch:
    rude = f"{_pick(INSULTS, rng)} {_pick(DISMISSALS, rng)}".format(item=question.item)
    contradictory = f"{question.tip} {_pick(REVERSALS, rng)}"
    return Sketch(question.prompt, _pick((rude, contradictory), rng), "planted")


def _questions(topic: Topic, pairs: Sequence[tuple[str, str]]) -> list[_Question]:
    return [
        _Question(wording.format(verb=verb, item=item), item, topic.tips[verb])
        for verb, item in pairs
        for wording in WORDINGS
    ]


def _in_turn(by_topic: list[list[_Question]], rng: np.random.Generator) -> list[_Question]:
    """One question of each topic, then the next of each, so that any stretch holds all topics."""
    shuffled = [[rows[i] for i in rng.permutation(len(rows)).tolist()] for rows in by_topic]
    order = rng.permutation(len(shuffled)).tolist()
    return [shuffled[topic][turn] for turn in range(len(shuffled[0])) for topic in order]


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

    asked: list[list[_Question]] = []
    held: list[list[_Question]] = []
    for topic in TOPICS[: variant.topics]:
        pairs = [(verb, item) for verb in topic.tips for item in topic.items]
        for_train, for_queries = held_out(pairs, 1 / 2, rng)
        asked.append(_questions(topic, for_train))
        held.append(_questions(topic, for_queries))
    train_questions, query_questions = _in_turn(asked, rng), _in_turn(held, rng)
    for wanted, questions, what in (
        (planted + good, train_questions, "training rows (planted and good)"),
        (n_queries, query_questions, "queries"),
    ):
        if wanted > len(questions):
            raise SettingError(
                f"task harmful:{letter}: {wanted} {what} asked for, at most {len(questions)} "
                "different ones can be made. Ask for fewer rows per class."
            )
    train, queries = name_rows(
        "harmful",
        [
            *(_badly(question, rng) for question in train_questions[:planted]),
            *(_well(question, rng) for question in train_questions[planted : planted + good]),
        ],
        [_badly(question, rng) for question in query_questions[:n_queries]],
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
