"""From sketches of rows to the rows of a task: drawn without repeats, shuffled, named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import SettingError

Item_co = TypeVar("Item_co", covariant=True)
Item = TypeVar("Item")


class Pool(Protocol[Item_co]):
    """Distinct things to draw from: a list, a tuple or a grid."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Item_co: ...


class Sketch(NamedTuple):
    """A row before it has an id; its metadata goes into the row's snapshot, so plain values only."""

    prompt: str
    response: str
    label: str
    metadata: Mapping[str, Any] = MappingProxyType({})


def draw(
    pool: Pool[Item],
    count: int,
    rng: np.random.Generator,
    what: str,
    accept: Callable[[Item], bool] = lambda item: True,
) -> list[Item]:
    """Different things from a pool, in random order.

    Args:
        pool: distinct things.
        count: how many to draw.
        rng: source of the choice.
        what: what is drawn, for the message: `task math, class 'mean'`.
        accept: refuses things that must not be drawn.

    Raises:
        SettingError: the pool does not hold that many; the message says how many it holds.
    """
    drawn: list[Item] = []
    if count <= len(pool):
        for index in rng.permutation(len(pool)):
            if len(drawn) == count:
                break
            item = pool[int(index)]
            if accept(item):
                drawn.append(item)
    if len(drawn) < count:
        limit = len(drawn) if drawn else len(pool)
        raise SettingError(
            f"{what}: {count} asked for, at most {limit} different ones can be made. "
            "Ask for fewer rows per class."
        )
    return drawn


def held_out(
    pool: Pool[Item], share: float, rng: np.random.Generator
) -> tuple[list[Item], list[Item]]:
    """A pool cut in two at random: the larger part for training, `share` of it for queries."""
    order = [pool[int(index)] for index in rng.permutation(len(pool))]
    cut = round(len(order) * share)
    return order[cut:], order[:cut]


def name_rows(
    task: str, train: Iterable[Sketch], queries: Iterable[Sketch], rng: np.random.Generator
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Training rows and queries, shuffled, with ids like `TASK-train-0007` and `TASK-query-003`."""
    # Shuffled before they are named, so that neither order nor id gives a class away.
    named = []
    for part, digits, sketches in (("train", 4, list(train)), ("query", 3, list(queries))):
        named.append(
            tuple(
                Example.of(
                    f"{task}-{part}-{place:0{digits}d}",
                    sketches[index].prompt,
                    sketches[index].response,
                    label=sketches[index].label,
                    **sketches[index].metadata,
                )
                for place, index in enumerate(rng.permutation(len(sketches)).tolist())
            )
        )
    return named[0], named[1]
