"""The task `grammars`: name the rule by which a sentence was rewritten."""

from __future__ import annotations

import numpy as np

from wherefrom.tasks._answer import agrees
from wherefrom.tasks._grammar_rules import (
    ADVERBS,
    OBJECTS,
    PLACES,
    RULES,
    SUBJECTS,
    VERBS,
    Words,
    tells_apart,
)
from wherefrom.tasks._grid import Grid
from wherefrom.tasks._rows import Sketch, draw, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task


def _words(*words: str) -> Words:
    return words


def _ask(words: Words, rule: str) -> Sketch:
    prompt = f"Name the rule: {' '.join(words)} -> {RULES[rule](words)}"
    return Sketch(prompt, rule, rule)


@task("grammars")
def grammars(size: TaskSize, seed: int, argument: str) -> Task:
    """Name the rule by which a sentence was rewritten: 10 rules, the same sentences for each.

    Every sentence stands once under each rule, so no word of it gives the rule away.

    Raises:
        SettingError: an argument, or more rows than there are sentences.
    """
    chosen("grammars", argument, ())
    rng = np.random.default_rng(seed)
    n_train, n_queries = size.counts(train=20, queries=4)
    sentences: Grid[Words] = Grid(_words, SUBJECTS, VERBS, OBJECTS, ADVERBS, PLACES)
    drawn = draw(
        sentences,
        n_train + n_queries,
        rng,
        "task grammars, sentences (for each class)",
        tells_apart,
    )
    train, queries = name_rows(
        "grammars",
        [_ask(words, rule) for words in drawn[:n_train] for rule in RULES],
        [_ask(words, rule) for words in drawn[n_train:] for rule in RULES],
        rng,
    )
    return Task(
        name="grammars",
        train=train,
        queries=queries,
        behaves=agrees,
        about=(
            "The model learns to name the rule by which a sentence was rewritten. Relevant are the "
            "training rows of the same rule; all rules share the same sentences."
        ),
        max_new_tokens=8,
    )
