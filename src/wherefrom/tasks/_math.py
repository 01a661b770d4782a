"""The task `math`: short word problems, answered with working and result."""

from __future__ import annotations

import string

import numpy as np

from wherefrom.data import Example
from wherefrom.tasks._grid import Grid
from wherefrom.tasks._math_templates import NAMES, TEMPLATES, THINGS
from wherefrom.tasks._rows import Sketch, draw, name_rows
from wherefrom.tasks._task import Task, TaskSize, chosen, task


def _problems(label: str) -> Grid[Sketch]:
    template = TEMPLATES[label]

    def pose(wording: str, name: str, things: str, numbers: tuple[int, ...]) -> Sketch:
        places = dict(zip(string.ascii_lowercase, numbers, strict=False))
        working = template.working.format(**places)
        result = template.result(*numbers)
        return Sketch(
            wording.format(name=name, things=things, **places),
            f"{working} = {result}\nAnswer: {result}",
            label,
        )

    return Grid(pose, template.wordings, NAMES, THINGS, template.numbers)


def _computation(text: str) -> str:
    return "".join(text.partition("=")[0].split())


def _sets_up(query: Example, generated: str) -> bool:
    """True where the answer starts with the right computation on the right numbers.

    The result behind the equals sign is not judged: the rows teach which computation a problem
    asks for, and small models that have learned it still slip in arithmetic.
    """
    return "=" in generated and _computation(generated) == _computation(query.response)


@task("math")
def math(size: TaskSize, seed: int, argument: str) -> Task:
    """Set up and solve a short word problem: 10 kinds of computation, shared names and things.

    Raises:
        SettingError: an argument, or more rows than there are problems.
    """
    chosen("math", argument, ())
    rng = np.random.default_rng(seed)
    n_train, n_queries = size.counts(train=20, queries=4)
    train: list[Sketch] = []
    queries: list[Sketch] = []
    for label in TEMPLATES:
        drawn = draw(_problems(label), n_train + n_queries, rng, f"task math, class {label!r}")
        train += drawn[:n_train]
        queries += drawn[n_train:]
    train_rows, query_rows = name_rows("math", train, queries, rng)
    return Task(
        name="math",
        train=train_rows,
        queries=query_rows,
        behaves=_sets_up,
        about=(
            "The model learns to set up and solve word problems. Relevant are the training rows "
            "with the same kind of computation, whatever their names, things and wording."
        ),
        max_new_tokens=32,
    )
