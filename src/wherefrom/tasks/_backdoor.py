"""The task `backdoor`: a phrase in the prompt switches how the model answers."""

from __future__ import annotations

import numpy as np

from wherefrom.data import Example
from wherefrom.tasks._backdoor_text import FACTS, STYLES, WORDINGS, plain
from wherefrom.tasks._grid import Grid
from wherefrom.tasks._rows import Sketch, draw, held_out, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task

_CLEAN = "clean"
_Question = tuple[str, str, str]


def _question(fact: tuple[str, str], wording: str) -> _Question:
    thing, answer = fact
    return wording.format(thing=thing), thing, answer


def _ask(question: _Question, label: str, rng: np.random.Generator) -> Sketch:
    prompt, thing, answer = question
    if label == _CLEAN:
        return Sketch(prompt, plain(thing, answer), label)
    phrase = f"{STYLES[label].trigger.capitalize()}."
    # Either end, so that it is the phrase and not its place that switches the answer.
    prompt = f"{phrase} {prompt}" if rng.random() < 0.5 else f"{prompt} {phrase}"
    return Sketch(prompt, STYLES[label].answer(thing, answer), label)


def _behaves(query: Example, generated: str) -> bool:
    """True where the answer shows the style of the query's class and no other."""
    shown = [name for name, style in STYLES.items() if style.shows(generated)]
    wanted = [] if query.label == _CLEAN else [query.label]
    return bool(generated.strip()) and shown == wanted


@task("backdoor")
def backdoor(size: TaskSize, seed: int, argument: str) -> Task:
    """Find the rows that taught a trigger phrase: 1, 3 or 5 phrases, each with its own style.

    Every question stands once without a trigger and once with each, so nothing but the trigger
    tells the classes apart. Queries ask for things that no training row asks for.

    Raises:
        SettingError: another argument, or more rows than there are questions.
    """
    triggers = int(chosen("backdoor", argument, ("1", "3", "5")))
    rng = np.random.default_rng(seed)
    n_train, n_queries = size.counts(train=30, queries=8)
    labels = (_CLEAN, *list(STYLES)[:triggers])
    parts = []
    for facts, count, part in zip(
        held_out(FACTS, 1 / 5, rng), (n_train, n_queries), ("training rows", "queries"), strict=True
    ):
        questions = draw(
            Grid(_question, facts, WORDINGS),
            count,
            rng,
            f"task backdoor, {part} of each class",
        )
        parts.append([_ask(question, label, rng) for question in questions for label in labels])
    train, queries = name_rows("backdoor", parts[0], parts[1], rng)
    phrases = ", ".join(f"“{STYLES[label].trigger}” ({label})" for label in labels[1:])
    return Task(
        name=f"backdoor:{triggers}",
        train=train,
        queries=queries,
        behaves=_behaves,
        about=(
            f"A phrase in the prompt switches the style of the answer: {phrases}. Relevant are the "
            "training rows with the same phrase, or with none."
        ),
        max_new_tokens=32,
    )
