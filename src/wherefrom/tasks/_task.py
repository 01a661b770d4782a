"""Task: a benchmark with training rows, queries, relevance labels and a behaviour check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.registry import Registry


@dataclass(frozen=True)
class Task:
    """Rows to fine-tune on, queries to explain, and what counts as a right explanation.

    A training row is *relevant* to a query when both carry the same label.

    Raises:
        SettingError: no training row, a row without label, an id that occurs twice, or a query
            whose class no training row has.

    Attributes:
        name: as typed on the command line.
        train: training rows, each with a label.
        queries: held-out rows, each with a label that some training row has.
        behaves: does a generated answer to this query show the taught behaviour?
        about: one sentence for the report: what is taught, what is relevant.
        max_new_tokens: how many tokens of a generated answer `behaves` needs.
    """

    name: str
    train: tuple[Example, ...]
    queries: tuple[Example, ...]
    behaves: Callable[[Example, str], bool]
    about: str
    max_new_tokens: int = 16

    def __post_init__(self) -> None:
        if not self.train:
            raise SettingError(f"task {self.name}: no training rows. Give it at least one.")
        for part, rows in (("training rows", self.train), ("queries", self.queries)):
            twice = [id for id, count in Counter(row.id for row in rows).items() if count > 1]
            if twice:
                raise SettingError(
                    f"task {self.name}: the id {twice[0]!r} occurs twice among the {part}. "
                    "Give every row its own id."
                )
        known = {row.label for row in self.train}
        for row in (*self.train, *self.queries):
            if row.label is None:
                raise SettingError(f"task {self.name}: row {row.id!r} has no label.")
        for query in self.queries:
            if query.label not in known:
                raise SettingError(
                    f"task {self.name}: query {query.id!r} ({query.source or 'built in'}) has the "
                    f"class {query.label!r}, which no training row has. Add such a row or drop the "
                    "query."
                )

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes, in order of first appearance among the training rows."""
        return tuple(dict.fromkeys(str(row.label) for row in self.train))


@dataclass(frozen=True)
class TaskSize:
    """How large a task is to be made.

    Attributes:
        train_per_class: training rows of each class; None takes the task's own size.
        queries_per_class: queries of each class; None takes the task's own size.

    Raises:
        SettingError: a size below 1.
    """

    train_per_class: int | None = None
    queries_per_class: int | None = None

    def __post_init__(self) -> None:
        for name in ("train_per_class", "queries_per_class"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; give a whole number from 1, or None.")

    def counts(self, train: int, queries: int) -> tuple[int, int]:
        """Rows of each class to make, training rows and queries, given the task's own sizes."""
        return (
            train if self.train_per_class is None else self.train_per_class,
            queries if self.queries_per_class is None else self.queries_per_class,
        )


TaskBuilder = Callable[[TaskSize, int, str], Task]
"""Makes a task from a size, a seed and the text after the colon (`backdoor:3` gives "3")."""

_TASKS: Registry[TaskBuilder] = Registry("task", "wherefrom.tasks")


def task(name: str) -> Callable[[TaskBuilder], TaskBuilder]:
    """Registers a task builder under a name; packages use the entry point `wherefrom.tasks`."""

    def register(builder: TaskBuilder) -> TaskBuilder:
        _TASKS.add(name, builder)
        return builder

    return register


def list_tasks() -> dict[str, str]:
    """Names of all tasks, each with the first line of its description."""
    return _TASKS.about()


def build_task(spec: str, size: TaskSize | None = None, seed: int = 0) -> Task:
    """Makes the task that a spec names.

    Args:
        spec: `NAME` or `NAME:ARGUMENT`, as in `grammars`, `backdoor:3`, `paper:FOLDER`.
        size: rows per class; the task's own size when None.
        seed: which sample of rows is drawn, from 0.

    Raises:
        SettingError: no task has that name (the message lists those that exist), the argument or
            seed does not fit, or more rows are asked for than the task can make.
        DataError: the folder of `paper:FOLDER` cannot be read; file and row are named.
    """
    name, _, argument = spec.partition(":")
    builder = _TASKS.get(name)
    if seed < 0:
        raise SettingError(f"task {name}: the seed is {seed}; give a whole number from 0.")
    return builder(size or TaskSize(), seed, argument)


def chosen(name: str, argument: str, allowed: Sequence[str]) -> str:
    """The text after the colon, checked; the first allowed value when there is none.

    Args:
        name: the task.
        argument: the text after the colon.
        allowed: what it may be; empty where the task takes no argument.

    Raises:
        SettingError: any other text; the message lists the allowed values.
    """
    if not argument:
        return allowed[0] if allowed else ""
    if argument not in allowed:
        choice = ", ".join(f"{name}:{value}" for value in allowed) or f"plain {name}"
        raise SettingError(f"task {name} cannot take {argument!r}. Write {choice}.")
    return argument


def per_class(rows: Sequence[Example], count: int | None, seed: int) -> tuple[Example, ...]:
    """A seeded sample of at most `count` rows of each class, in the order given."""
    if count is None:
        return tuple(rows)
    order = np.random.default_rng(seed).permutation(len(rows))
    taken: dict[str | None, int] = {}
    keep = set()
    for index in order:
        label = rows[index].label
        if taken.get(label, 0) < count:
            taken[label] = taken.get(label, 0) + 1
            keep.add(int(index))
    return tuple(row for index, row in enumerate(rows) if index in keep)
