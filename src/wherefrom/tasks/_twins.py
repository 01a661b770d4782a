"""The task `twins`: rows of the same words whose order alone decides the answer."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from wherefrom.tasks._answer import agrees
from wherefrom.tasks._rows import Sketch, draw, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task
from wherefrom.tasks._words import listed

# Words that commonly stand alone, so that no order of them reads better than another.
_ITEMS = listed(
    "plum kettle rope candle button pillow hammer violin basket mirror carpet bottle feather "
    "lantern marble ribbon saddle drum ladder needle paddle pencil rocket spoon tent thimble "
    "trumpet tunnel umbrella wagon walnut whistle anchor barrel blanket bucket cushion drawer "
    "helmet jigsaw"
)
_WORDINGS = ("{cue} - say {items}", "{cue} - please list {items}", "Say {items} - {cue}")

_Items = tuple[str, ...]


class _Rule(NamedTuple):
    """A way to answer, and the order of the cue words that calls for it."""

    cue: str
    answer: Callable[[_Items], _Items]


_RULES = {
    2: {
        "as given": _Rule("amber cobalt", lambda items: items),
        "reversed": _Rule("cobalt amber", lambda items: items[::-1]),
    },
    3: {
        "as given": _Rule("amber cobalt violet", lambda items: items),
        "reversed": _Rule("cobalt violet amber", lambda items: items[::-1]),
        "first to the end": _Rule("violet amber cobalt", lambda items: (*items[1:], items[0])),
    },
}
"""For each number of classes as many rules, on lists of as many items."""


def _told(items: _Items) -> str:
    # No commas: a word must look the same wherever it stands, or its place would show in its text.
    return " and ".join(items)


def _group(
    items: _Items, twin: int, rules: dict[str, _Rule], rng: np.random.Generator
) -> list[Sketch]:
    """One row of each class: the same wording and items, another order of the cue words."""
    shuffled = tuple(items[place] for place in rng.permutation(len(items)))
    wording = _WORDINGS[int(rng.integers(len(_WORDINGS)))]
    return [
        Sketch(
            wording.format(cue=rule.cue, items=_told(shuffled)),
            _told(rule.answer(shuffled)),
            label,
            {"twin": twin},
        )
        for label, rule in rules.items()
    ]


@task("twins")
def twins(size: TaskSize, seed: int, argument: str) -> Task:
    """Find the rule behind an answer where all classes have the same words: 2 or 3 orders of a cue.

    A prompt lists things and holds cue words; their order decides whether the things are to be said as
    given, reversed, or (in `twins:3`) with the first one last. Every row has a twin in each other class
    with the same words in prompt and response, so whatever counts words scores twins alike and finds
    the class no better than chance; rows with the same number in the column `twin` belong together.
    Text methods that look at order, such as embeddings of sentences, may still see the cue.
    No query lists the things of a training row.

    Raises:
        SettingError: another number of classes, or more rows than there are lists of things.
    """
    classes = int(chosen("twins", argument, ("2", "3")))
    rules = _RULES[classes]
    rng = np.random.default_rng(seed)
    n_train, n_queries = size.counts(train=30, queries=8)
    lists = draw(
        tuple(combinations(_ITEMS, classes)),
        n_train + n_queries,
        rng,
        "task twins, lists of things (for each class)",
    )
    groups = [_group(items, twin, rules, rng) for twin, items in enumerate(lists)]
    train, queries = name_rows(
        "twins",
        [row for group in groups[:n_train] for row in group],
        [row for group in groups[n_train:] for row in group],
        rng,
    )
    cues = ", ".join(f"“{rule.cue}” ({label})" for label, rule in rules.items())
    return Task(
        name=f"twins:{classes}",
        train=train,
        queries=queries,
        behaves=agrees,
        about=(
            f"The order of cue words decides the order of the answer: {cues}. Relevant are the "
            "training rows with the same order of cue words; all classes share the same words."
        ),
        max_new_tokens=16,
    )
