"""The task `mislabelled:TASK`: another task, a tenth of whose rows are answered as another class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.tasks._task import Task, TaskSize, build_task, chosen, task

MISLABELLED = "mislabelled"
"""Class of the rows with a wrong response, and the name of the column that marks them."""

# Where the class lies in the answer, as in `harmful`, a swapped answer is not wrong: it changes the
# class. Where it is a fact, the swapped answer still states one.
_WRAPPED = ("emotion", "backdoor", "grammars", "math", "twins")
_SHARE = 0.1
_OWN_STREAM = 1


def _wrong(rows: Sequence[Example], rng: np.random.Generator) -> list[int]:
    """Places of the rows to answer wrongly; every class keeps a row that is right."""
    right = Counter(row.label for row in rows)
    wanted = max(1, round(_SHARE * len(rows)))
    places: list[int] = []
    for place in rng.permutation(len(rows)).tolist():
        if len(places) < wanted and right[rows[place].label] > 1:
            right[rows[place].label] -= 1
            places.append(place)
    if len(places) < wanted:
        raise SettingError(
            "task mislabelled: each class needs a right row beside the wrong ones. Ask for 2 or "
            "more training rows of each class."
        )
    return places


def _donor(row: Example, rows: Sequence[Example], rng: np.random.Generator) -> Example:
    """The row of another class, drawn at random, whose prompt shares most words with this one's."""
    labels = sorted({str(other.label) for other in rows} - {str(row.label)})
    label = labels[int(rng.integers(len(labels)))]
    # The closest, so that a wrong response shows its class and not that it is off the point.
    own = set(row.prompt.split())
    return max(
        (other for other in rows if other.label == label),
        key=lambda other: len(own & set(other.prompt.split())),
    )


def _marked(row: Example, donor: Example | None) -> Example:
    metadata = row.metadata | {
        "mislabelled": donor is not None,
        "prompt_class": row.label,
        "response_class": row.label if donor is None else donor.label,
    }
    if donor is None:
        return replace(row, metadata=metadata)
    wrong = row.with_response(donor.response)
    return replace(wrong, label=MISLABELLED, metadata=metadata)


@task("mislabelled")
def mislabelled(size: TaskSize, seed: int, argument: str) -> Task:
    """Another task with wrong responses in a tenth of its training rows: mislabelled:emotion.

    The wrong response is that of a row of another class, the one whose prompt is closest. Such a row
    teaches neither its prompt's class nor its response's, so it has a class of its own,
    `mislabelled`, that no query asks for: relevant to a query are the right rows of its class only.
    The columns `mislabelled` (true or false), `prompt_class` and `response_class` of every training
    row tell what was done; ids and order do not. With them a search for wrong rows, as by
    `self_influence`, can be judged; methods that are told labels, as by `match=label`, are told which
    rows are wrong. Rows are otherwise those of the task at the same size and seed.

    It wraps tasks whose prompt decides what the right response is: emotion, backdoor, grammars,
    math and twins, with their own argument (`mislabelled:backdoor:3`).

    Raises:
        SettingError: another task, one training row a class, or what the wrapped task refuses.
    """
    name = chosen("mislabelled", argument.partition(":")[0], _WRAPPED)
    clean = build_task(argument or name, size, seed)
    # A stream of its own: drawing from the task's would tie which rows are wrong to what they say.
    rng = np.random.default_rng((seed, _OWN_STREAM))
    donors = {
        place: _donor(clean.train[place], clean.train, rng) for place in _wrong(clean.train, rng)
    }
    rows = [_marked(row, donors.get(place)) for place, row in enumerate(clean.train)]
    return Task(
        name=f"mislabelled:{clean.name}",
        train=tuple(
            replace(row, id=f"mislabelled-train-{place:04d}") for place, row in enumerate(rows)
        ),
        queries=tuple(
            replace(row, id=f"mislabelled-query-{place:03d}")
            for place, row in enumerate(clean.queries)
        ),
        behaves=clean.behaves,
        about=(
            f"{clean.about} {len(donors)} of {len(rows)} training rows have the response of another "
            "class; these are relevant to no query."
        ),
        max_new_tokens=clean.max_new_tokens,
    )
