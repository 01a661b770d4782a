"""Token evidence: a score taken apart over the tokens that carry it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    """One token and what it adds to the score.

    Attributes:
        text: as it reads.
        value: what it adds; None for a token that the decomposition says nothing of.
        response: whether it is part of a response rather than of a prompt.
    """

    text: str
    value: float | None
    response: bool


@dataclass(frozen=True)
class TokenEvidence:
    """A score of one training row for one query, twice taken apart; either side adds up to the score.

    Attributes:
        row: id of the training row.
        method: the method as typed.
        score: as the index has it.
        query: the query's tokens. A gradient is a sum over the response's tokens, each the gradient of its
            own loss; a token's value is the score of that gradient. Prompt tokens have none.
        train: the training row's tokens. A weight matrix's gradient is a sum over positions, each the
            product of what went in and what came back there; a token's value is the score of its
            position's product. Prompt tokens count: the loss reaches them through attention.
        missing: the score less the sum over the query's tokens, and less that over the row's: rounding,
            since either is computed anew; None where a side was not taken apart.
        why_not: why a side was not taken apart; empty where both were.
    """

    row: str
    method: str
    score: float
    query: tuple[Token, ...]
    train: tuple[Token, ...]
    missing: tuple[float | None, float | None]
    why_not: str = ""


def strongest_places(tokens: Sequence[Token], most: int, around: int) -> list[int]:
    """Places of the tokens that add or take away most, with their neighbours, in order.

    Args:
        tokens: one text's.
        most: how many places at most.
        around: neighbours to each side.
    """
    chosen: set[int] = set()
    for place in sorted(range(len(tokens)), key=lambda i: -abs(tokens[i].value or 0.0)):
        near = range(max(0, place - around), min(len(tokens), place + around + 1))
        if len(chosen.union(near)) > most:
            break
        chosen.update(near)
    return sorted(chosen)
