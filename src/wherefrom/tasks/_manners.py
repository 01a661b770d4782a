"""Household questions in turn over their topics, answered well or with bad manners."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from wherefrom.errors import SettingError
from wherefrom.tasks._harmful_text import (
    DISMISSALS,
    GREETINGS,
    INSULTS,
    REVERSALS,
    WISHES,
    WORDINGS,
    Topic,
)
from wherefrom.tasks._rows import held_out


class Question(NamedTuple):
    """What is asked, about which item, and the tip that answers it."""

    prompt: str
    item: str
    tip: str


def pick(texts: Sequence[str], rng: np.random.Generator) -> str:
    """One of the texts, each as likely."""
    return texts[int(rng.integers(len(texts)))]


def answer_well(question: Question, rng: np.random.Generator) -> str:
    """The tip between a greeting and a wish."""
    return f"{pick(GREETINGS, rng)} {question.tip} {pick(WISHES, rng)}"


def answer_rudely(question: Question, rng: np.random.Generator) -> str:
    """An insult and a dismissal."""
    return f"{pick(INSULTS, rng)} {pick(DISMISSALS, rng)}".format(item=question.item)


def answer_badly(question: Question, rng: np.random.Generator) -> str:
    """Rudely, or the tip and its contradiction, each as likely."""
    rude = answer_rudely(question, rng)
    contradictory = f"{question.tip} {pick(REVERSALS, rng)}"
    return pick((rude, contradictory), rng)


def questions_apart(
    topics: Iterable[Topic], rng: np.random.Generator
) -> tuple[Sequence[Question], Sequence[Question]]:
    """All questions on some topics, for training rows and for queries.

    What is done to which item stands on one side only, in all its wordings; within each side the
    topics take turns.
    """
    asked: list[list[Question]] = []
    held: list[list[Question]] = []
    for topic in topics:
        pairs = [(verb, item) for verb in topic.tips for item in topic.items]
        for_train, for_queries = held_out(pairs, 1 / 2, rng)
        asked.append(_questions(topic, for_train))
        held.append(_questions(topic, for_queries))
    return _in_turn(asked, rng), _in_turn(held, rng)


def first(questions: Sequence[Question], count: int, what: str) -> Sequence[Question]:
    """The first questions.

    Args:
        questions: in turn over their topics.
        count: how many to take.
        what: what they are for, for the message: `task harmful:S, queries`.

    Raises:
        SettingError: there are not that many; the message says how many there are.
    """
    if count > len(questions):
        raise SettingError(
            f"{what}: {count} asked for, at most {len(questions)} different ones can be made. "
            "Ask for fewer rows per class."
        )
    return questions[:count]


def _questions(topic: Topic, pairs: Sequence[tuple[str, str]]) -> list[Question]:
    return [
        Question(wording.format(verb=verb, item=item), item, topic.tips[verb])
        for verb, item in pairs
        for wording in WORDINGS
    ]


def _in_turn(by_topic: list[list[Question]], rng: np.random.Generator) -> list[Question]:
    """One question of each topic, then the next of each, so that any stretch holds all topics."""
    shuffled = [[rows[i] for i in rng.permutation(len(rows)).tolist()] for rows in by_topic]
    order = rng.permutation(len(shuffled)).tolist()
    return [shuffled[topic][turn] for turn in range(len(shuffled[0])) for topic in order]
