"""The task `facts`: find the rows that state a fact about an invented person."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from wherefrom.data import Example
from wherefrom.tasks._facts_text import ATTRIBUTES, FIRST_NAMES, SURNAMES
from wherefrom.tasks._rows import Sketch, draw, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task

_PEOPLE = ("4", "8", "16")
_DECOY = "decoy"


def _pairs(people: Sequence[str], turn: int) -> list[tuple[str, str]]:
    """An even number of people in pairs; over as many turns as there are others, each meets each."""
    # The circle of a round-robin tournament: the first stays, the others move on by one.
    turn %= len(people) - 1
    circle = [people[0], *people[1 + turn :], *people[1 : 1 + turn]]
    return list(zip(circle[: len(circle) // 2], reversed(circle), strict=False))


def _statements(
    person: str, attribute: str, value: str, count: int, rng: np.random.Generator
) -> list[Sketch]:
    """Rows that state one fact, no two with the same prompt or the same wording of the response."""
    texts, what = ATTRIBUTES[attribute], "task facts, statements of each fact"
    about = {"person": person, "attribute": attribute, "value": value}
    prompts, responses = (draw(side, count, rng, what) for side in (texts.asked, texts.stated))
    return [
        Sketch(
            prompt.format(name=person),
            response.format(name=person, value=value),
            _label(person, attribute),
            about,
        )
        for prompt, response in zip(prompts, responses, strict=True)
    ]


def _decoys(person: str, attribute: str, count: int, rng: np.random.Generator) -> list[Sketch]:
    """Rows that name the person as often, in words close to the queries', and state no fact."""
    about = {"person": person, "attribute": attribute}
    drawn = draw(ATTRIBUTES[attribute].decoys, count, rng, "task facts, decoys of each fact")
    return [
        Sketch(prompt.format(name=person), response.format(name=person), _DECOY, about)
        for prompt, response in drawn
    ]


def _questions(
    person: str, attribute: str, value: str, count: int, rng: np.random.Generator
) -> list[Sketch]:
    texts = ATTRIBUTES[attribute]
    about = {"person": person, "attribute": attribute, "value": value}
    answer = texts.answer.format(name=person, value=value)
    return [
        Sketch(question.format(name=person), answer, _label(person, attribute), about)
        for question in draw(texts.questions, count, rng, "task facts, queries of each fact")
    ]


def _label(person: str, attribute: str) -> str:
    return f"{person} / {attribute}"


def _said(words: Sequence[str], text: str) -> list[str]:
    return [word for word in words if re.search(rf"\b{word}\b", text, re.IGNORECASE)]


def _behaves(query: Example, generated: str) -> bool:
    """True where the answer names the fact's value, no other value of its attribute, nobody else."""
    values = ATTRIBUTES[query.metadata["attribute"]].values
    named = _said((*FIRST_NAMES, *SURNAMES), generated)
    return _said(values, generated) == [query.metadata["value"]] and set(named) <= set(
        query.metadata["person"].split()
    )


@task("facts")
def facts(size: TaskSize, seed: int, argument: str) -> Task:
    """Trace a fact to the rows that state it: 4, 8 or 16 invented people, 5 facts each, and decoys.

    Each fact (a person and one of five attributes) is stated by three rows of different wording, and
    every value holds for exactly two people, so that neither name nor value alone finds a fact. As
    many decoys name the person as often as the statements do, ask nearly what the queries ask, and
    state no fact; no query has their class. Queries ask in a wording that no training row has.

    A size gives the statements and the queries of each fact; there are as many decoys as statements.

    Raises:
        SettingError: another number of people, or more rows than there are wordings.
    """
    count = int(chosen("facts", argument, _PEOPLE))
    rng = np.random.default_rng(seed)
    n_statements, n_queries = size.counts(train=3, queries=1)
    first_names, surnames = (
        draw(names, count, rng, "task facts, people") for names in (FIRST_NAMES, SURNAMES)
    )
    people = [f"{first} {last}" for first, last in zip(first_names, surnames, strict=True)]
    train: list[Sketch] = []
    queries: list[Sketch] = []
    for turn, (attribute, texts) in enumerate(ATTRIBUTES.items()):
        values = draw(texts.values, count // 2, rng, f"task facts, values of {attribute}")
        for value, pair in zip(values, _pairs(people, turn), strict=True):
            for person in pair:
                train += _statements(person, attribute, value, n_statements, rng)
                train += _decoys(person, attribute, n_statements, rng)
                queries += _questions(person, attribute, value, n_queries, rng)
    train_rows, query_rows = name_rows("facts", train, queries, rng)
    return Task(
        name=f"facts:{count}",
        train=train_rows,
        queries=query_rows,
        behaves=_behaves,
        about=(
            f"The model learns {count * len(ATTRIBUTES)} facts about {count} invented people. "
            "Relevant are the training rows that state the fact asked for; half of all rows are "
            "decoys that name the same people and state none."
        ),
        max_new_tokens=24,
    )
