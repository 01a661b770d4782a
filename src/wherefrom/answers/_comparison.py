"""Two rankings side by side, and which of them a measurement bears out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import IdentityError, SettingError
from wherefrom.metrics import rank_agreement, top_overlap
from wherefrom.scores import SIGN, Scores, ranking

How = Literal["retraining", "spot check"]
Supported = Literal["ours", "theirs", "both", "neither"]

LEVEL = 0.05
"""Share of random sets that may do as much as the rows of a side that is supported."""


@dataclass(frozen=True)
class Effect:
    """What the first k rows of each side do to one response, in nats a token.

    Positive = the rows push the model towards the response: what it loses by `retraining` without them,
    or what it gains by a training step on them (`spot check`).

    Attributes:
        how: it was measured.
        ours: by our rows.
        theirs: by theirs.
        words: by as many of the rows nearest by words; None where it was not measured.
        random: by as many random rows, draw by draw.
    """

    how: How
    ours: float
    theirs: float
    words: float | None
    random: tuple[float, ...]

    def p_value(self, effect: float) -> float:
        """(1 + random sets that do at least as much) / (1 + random sets)."""
        return (1 + sum(one >= effect for one in self.random)) / (1 + len(self.random))

    @property
    def supported(self) -> Supported:
        """The side whose rows do more than 95 % of the random sets."""
        ours, theirs = (self.p_value(one) <= LEVEL for one in (self.ours, self.theirs))
        if ours and theirs:
            return "both"
        return "ours" if ours else "theirs" if theirs else "neither"


@dataclass(frozen=True)
class Placed:
    """A row among the first of one side.

    Attributes:
        rank: there, from 1.
        score: there.
        row: id.
        number: its place in the training set, from 1.
        elsewhere: its rank on the other side.
    """

    rank: int
    score: float
    row: str
    number: int
    elsewhere: int


@dataclass(frozen=True)
class Compared:
    """Two rankings of the training rows for one query.

    Attributes:
        query: prompt and response.
        spearman: rank correlation over all rows; None where one side scores them all alike.
        overlap: share of the first k rows in common.
        expected: the share that two random rankings have in common.
        ours: our first k rows.
        theirs: their first k rows.
        effect: what these do; None where it was not measured.
    """

    query: Example
    spearman: float | None
    overlap: float
    expected: float
    ours: tuple[Placed, ...]
    theirs: tuple[Placed, ...]
    effect: Effect | None


@dataclass(frozen=True)
class Comparison:
    """Another tool's scores beside ours.

    Attributes:
        ours: name of our method.
        theirs: name of the other scores.
        k: first rows that are looked at.
        queries: one entry each.
        why_not: why retraining was not asked; empty where it was.
    """

    ours: str
    theirs: str
    k: int
    queries: tuple[Compared, ...]
    why_not: str = ""

    def sentence(self, one: Compared) -> str:
        """In plain words, what was found for one query."""
        same = {row.row for row in one.ours} == {row.row for row in one.theirs}
        rows = "row" if self.k == 1 else f"{self.k} rows"
        if one.effect is None:
            told = "the same " if same else "other "
            return f"{self.ours} and {self.theirs} name {told}{rows}; which side is right was not measured."
        effect = one.effect
        words = {
            "ours": f"supports {self.ours} and not {self.theirs}",
            "theirs": f"supports {self.theirs} and not {self.ours}",
            "both": f"supports both {self.ours} and {self.theirs}",
            "neither": f"supports neither {self.ours} nor {self.theirs}",
        }[effect.supported]
        found = [f"{_named(effect.how)} {words}."]
        if same:
            found.append(f"Both name the same {rows}.")
        elif effect.supported == "both":
            more = self.ours if effect.ours >= effect.theirs else self.theirs
            found.append(f"The rows of {more} do more.")
        if effect.words is not None and effect.p_value(effect.words) <= LEVEL:
            found.append("As many rows nearest by words do more than random ones too.")
        return " ".join(found)

    def summary(self) -> dict[str, Any] | None:
        """Means over the queries, and how often each side is supported; None without a measurement."""
        effects = [one.effect for one in self.queries if one.effect is not None]
        if not effects:
            return None
        words = [one.words for one in effects if one.words is not None]
        return {
            "how": effects[0].how,
            "queries": len(effects),
            "supported_ours": sum(one.supported in ("ours", "both") for one in effects),
            "supported_theirs": sum(one.supported in ("theirs", "both") for one in effects),
            "ours": float(np.mean([one.ours for one in effects])),
            "theirs": float(np.mean([one.theirs for one in effects])),
            "words": float(np.mean(words)) if words else None,
            "random": float(np.mean([np.mean(one.random) for one in effects])),
        }

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "ours": self.ours,
            "theirs": self.theirs,
            "k": self.k,
            "queries": [_record(self, one) for one in self.queries],
            "summary": self.summary(),
            "why_not": self.why_not,
            "unit": "nats a token; positive = the rows push the model towards the response",
            "sign": SIGN,
        }


def compared(
    queries: Sequence[Example],
    ours: Scores,
    theirs: Scores,
    k: int,
    effects: Sequence[Effect] | None = None,
    why_not: str = "",
) -> Comparison:
    """Sets two rankings side by side.

    Args:
        queries: in the order of the scores.
        ours: queries × training rows.
        theirs: of the same queries and rows, in any order.
        k: first rows that are looked at.
        effects: what these do, one for each query; None where it was not measured.
        why_not: why it was not.

    Raises:
        SettingError: k is below 1 or above the number of training rows.
        IdentityError: the scores are of different queries or rows.
    """
    if not 1 <= k <= len(ours.train_ids):
        raise SettingError(f"k is {k} for {len(ours.train_ids)} rows; give 1 to that many.")
    theirs = in_order_of(theirs, ours)
    alike, shared = rank_agreement(ours, theirs), top_overlap(ours, theirs, k)
    orders = [ranking(one.values, one.train_ids) for one in (ours, theirs)]
    ranks = [np.argsort(order, axis=1) + 1 for order in orders]
    found = []
    for q, query in enumerate(queries):
        sides = [
            tuple(
                Placed(rank, float(own.values[q, i]), own.train_ids[i], i + 1, int(other[q, i]))
                for rank, i in enumerate(order[q, :k].tolist(), start=1)
            )
            for own, order, other in zip((ours, theirs), orders, ranks[::-1], strict=True)
        ]
        found.append(
            Compared(
                query=query,
                spearman=float(alike[q]) if np.isfinite(alike[q]) else None,
                overlap=float(shared[q]),
                expected=k / len(ours.train_ids),
                ours=sides[0],
                theirs=sides[1],
                effect=None if effects is None else effects[q],
            )
        )
    return Comparison(ours.method, theirs.method, k, tuple(found), why_not)


def in_order_of(scores: Scores, like: Scores) -> Scores:
    """Scores with the queries and rows of others, in their order.

    Raises:
        IdentityError: they are of other queries or rows.
    """
    places = []
    for what, own, wanted in (
        ("query", scores.query_ids, like.query_ids),
        ("training row", scores.train_ids, like.train_ids),
    ):
        known = {id: place for place, id in enumerate(own)}
        missing = [id for id in wanted if id not in known]
        if missing or len(own) != len(wanted):
            which = repr(missing[0]) if missing else f"{len(own)} in place of {len(wanted)}"
            raise IdentityError(f"{scores.method}: its scores are of other {what} ids ({which}).")
        places.append([known[id] for id in wanted])
    return Scores(
        scores.values[np.ix_(*places)],
        like.query_ids,
        like.train_ids,
        scores.method,
        scores.settings,
        scores.unit,
    )


def _record(comparison: Comparison, one: Compared) -> dict[str, Any]:
    held = asdict(one)
    query = {"id": one.query.id, "prompt": one.query.prompt, "response": one.query.response}
    effect = one.effect
    if effect is not None:
        held["effect"] |= {
            "supported": effect.supported,
            "p_ours": effect.p_value(effect.ours),
            "p_theirs": effect.p_value(effect.theirs),
            "random_mean": float(np.mean(effect.random)),
        }
    return held | {"query": query, "sentence": comparison.sentence(one)}


def _named(how: How) -> str:
    return (
        "Retraining" if how == "retraining" else "The spot check (a training step, no retraining)"
    )
