"""A guilty row, and a group of near-duplicates as one guilty cause."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuiltyRow:
    """One training row and what it has to do with the bad answers.

    Attributes:
        rank: from 1, the highest guilt first.
        guilt: mean of its scores over the bad queries less that over the good ones, the scores of each
            query in units of their own root mean square.
        low: low end of the 95 % interval of guilt, over queries; None with one bad query.
        high: its high end.
        bad: the first of the two means.
        good: the second; None without good queries.
        removal_bad: predicted mean change of the bad answers' log-probability without the row, in nats;
            None where the method defines none.
        removal_good: the same of the good answers.
        hits: how many bad queries have the row among their first k.
        row: id.
        number: the row's place in the training set, from 1.
        source: file and line that it was read from.
        label: class; None where the row has none.
        group: number of its group of near-duplicates, from 0.
        copies: rows in that group, itself counted.
        prompt: text.
        response: text.
    """

    rank: int
    guilt: float
    low: float | None
    high: float | None
    bad: float
    good: float | None
    removal_bad: float | None
    removal_good: float | None
    hits: int
    row: str
    number: int
    source: str
    label: str | None
    group: int
    copies: int
    prompt: str
    response: str


@dataclass(frozen=True)
class GuiltyGroup:
    """Near-duplicate rows as one cause: sums of what its rows have.

    Attributes:
        rank: from 1, the highest guilt first; a row without copies is a group of its own.
        guilt: sum over its rows; see `GuiltyRow`.
        low: low end of the 95 % interval of guilt; None with one bad query.
        high: its high end.
        bad: sum over its rows.
        good: sum over its rows; None without good queries.
        removal_bad: predicted mean change of the bad answers' log-probability without all of them, in
            nats; None where the method defines none.
        removal_good: the same of the good answers.
        hits: how many bad queries have some of its rows among their first k.
        group: its number.
        rows: ids, the guiltiest first.
        numbers: places of these rows in the training set, from 1.
    """

    rank: int
    guilt: float
    low: float | None
    high: float | None
    bad: float
    good: float | None
    removal_bad: float | None
    removal_good: float | None
    hits: int
    group: int
    rows: tuple[str, ...]
    numbers: tuple[int, ...]
