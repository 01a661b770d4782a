"""Sample queries: what each method says made the model answer so, as text side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from wherefrom.answers import calibration_of, group_numbers, removal
from wherefrom.data import Example
from wherefrom.diagnose import TraceCheck
from wherefrom.methods import predicts_removal
from wherefrom.report._data import Key, ReportData
from wherefrom.report._downloads import LONGEST, Sheet, Value
from wherefrom.report._names import class_of, method_names, short
from wherefrom.report._numbers import counted, magnitude, score
from wherefrom.report._shown import Shown
from wherefrom.report._token_view import TokenView, token_view
from wherefrom.report._trust_words import Stamp, chance, stamp_of_word
from wherefrom.safetext import one_line, printable
from wherefrom.scores import Ranked, Scores

PROPONENTS = 5
OPPONENTS = 3
EXCERPT = 300
GLIMPSE = 56
QUERY_EXCERPT = 1200
MOST_REASONS = 2
REASON = 200


@dataclass(frozen=True)
class Cited:
    """One training row as a method's evidence.

    Attributes:
        rank: from 1; the lowest score has the rank of the last row.
        removal: predicted change of the response's log-probability without the row, in nats; empty where
            the method defines none.
        same: whether it has the query's class; None where either has no label.
        copies: how many rows say nearly the same, in words; empty where none does.
        glimpse: the row's first words.
        tokens: which of them carry the score; None where that is not known.
    """

    rank: str
    score: str
    removal: str
    id: str
    source: str
    label: str
    same: bool | None
    copies: str
    prompt: str
    response: str
    glimpse: str
    tokens: TokenView | None


@dataclass(frozen=True)
class Evidence:
    """What one method says about one query.

    Attributes:
        hits: how many of the proponents have the query's class; empty where it has none.
    """

    method: str
    unit: str
    hits: str
    proponents: tuple[Cited, ...]
    opponents: tuple[Cited, ...]


@dataclass(frozen=True)
class Judged:
    """The verdict on an answer."""

    method: str
    stamp: Stamp
    number: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """One query and the evidence for it, in full for some methods and in brief for the others."""

    id: str
    source: str
    label: str
    glimpse: str
    prompt: str
    response: str
    verdict: Judged | None
    full: tuple[Evidence, ...]
    brief: tuple[Evidence, ...]


class Samples:
    """The sample queries of a report.

    Args:
        data: the report's.
        shown: which queries and methods.
    """

    def __init__(self, data: ReportData, shown: Shown) -> None:
        self.data = data
        self.shown = shown
        self.names = method_names(shown.order)
        self.ends = {key: _ends(scores) for key, scores in shown.scores.items()}
        self.removals = {key: removal(scores) for key, scores in shown.scores.items()}

    @cached_property
    def groups(self) -> np.ndarray:
        """Group of near-duplicates of each training row."""
        return group_numbers(self.data.train)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Rows of each group."""
        return np.bincount(self.groups)

    def pages(self) -> tuple[Sample, ...]:
        """What is shown of each query."""
        verdicts = {} if self.data.trust is None else {t.query: t for t in self.data.trust.traces}
        found = []
        for place, position in enumerate(self.shown.positions):
            query = self.data.queries[position]
            trace = verdicts.get(query.id)
            full = tuple(self._evidence(key, place) for key in self.shown.full)
            others = (key for key in self.shown.order if key not in self.shown.full)
            brief = tuple(self._evidence(key, place) for key in others)
            found.append(_sample(query, _judged(trace) if trace else None, full, brief))
        return tuple(found)

    def size_of_removals(self) -> str:
        """How far the sizes of predicted removals can be relied on; empty where none is shown."""
        told = []
        for key in self.shown.full:
            scores = self.shown.scores[key]
            found = calibration_of(scores)
            if predicts_removal(scores.unit) and found is not None:
                ends = f"{magnitude(found.low)} to {magnitude(found.high)}"
                told.append(
                    f"Those of {self.names[key]} were multiplied by {magnitude(found.factor)} (95 % "
                    f"interval {ends}), as {counted(found.models, 'model')} trained on parts of the rows "
                    "say."
                )
            elif predicts_removal(scores.unit):
                told.append(
                    f"Those of {self.names[key]} are to first order: their order tells, their size can "
                    "be many times too large or too small."
                )
        return " ".join(told)

    def sheet(self) -> Sheet:
        """The rows shown in full, as a table."""
        return Sheet(
            "rows",
            "the rows shown in full",
            (
                *("query", "recipe", "method", "unit", "side", "rank", "score", "removal"),
                *("row", "number", "source", "label", "group", "copies", "prompt", "response"),
            ),
            tuple(self._lines()),
        )

    def _lines(self) -> Iterator[tuple[Value, ...]]:
        for place, position in enumerate(self.shown.positions):
            query = self.data.queries[position].id
            for key in self.shown.full:
                unit = self.shown.scores[key].unit
                for side, ranked in zip(("proponent", "opponent"), self.ends[key], strict=True):
                    for rank, index in enumerate(ranked.indices[place].tolist()):
                        predicted = self._removal(key, place, index)
                        number = len(self.data.train) - rank if side == "opponent" else rank + 1
                        value = float(ranked.values[place, rank])
                        yield (
                            *(query, *key, unit, side, number, value, predicted),
                            *self._row(index),
                        )

    def _row(self, index: int) -> tuple[Value, ...]:
        row, group = self.data.train[index], int(self.groups[index])
        texts = (one_line(text, LONGEST) for text in (row.prompt, row.response))
        return (
            *(row.id, index + 1, row.source, row.label, group, int(self.sizes[group])),
            *texts,
        )

    def _removal(self, key: Key, place: int, index: int) -> float | None:
        predicted = self.removals[key]
        return None if predicted is None else float(predicted[place, index])

    def _evidence(self, key: Key, place: int) -> Evidence:
        query = self.data.queries[self.shown.positions[place]]
        top, bottom = self.ends[key]
        proponents = self._cited(key, top, place, from_below=False)
        return Evidence(
            method=self.names[key],
            unit=short(self.shown.scores[key].unit, 80),
            hits=_hits(proponents, query),
            proponents=proponents,
            opponents=self._cited(key, bottom, place, from_below=True),
        )

    def _cited(self, key: Key, top: Ranked, place: int, *, from_below: bool) -> tuple[Cited, ...]:
        query = self.data.queries[self.shown.positions[place]]
        tokens = {one.row: one for one in self.data.tokens.get(key, {}).get(query.id, ())}
        cited = []
        pairs = zip(top.indices[place].tolist(), top.values[place].tolist(), strict=True)
        for rank, (index, value) in enumerate(pairs):
            row = self.data.train[index]
            unknown = row.label is None or query.label is None
            predicted = self._removal(key, place, index)
            copies = int(self.sizes[self.groups[index]]) - 1
            cited.append(
                Cited(
                    rank=f"{len(self.data.train) - rank if from_below else rank + 1:,}",
                    score=score(value),
                    removal="" if predicted is None else score(predicted),
                    id=short(row.id, 40),
                    source=one_line(row.source, 60),
                    label=class_of(row),
                    same=None if unknown else row.label == query.label,
                    copies=counted(copies, "near-copy", "near-copies") if copies else "",
                    prompt=one_line(row.prompt, EXCERPT),
                    response=one_line(row.response, EXCERPT),
                    glimpse=one_line(row.prompt, GLIMPSE) or one_line(row.response, GLIMPSE),
                    tokens=token_view(tokens[row.id]) if row.id in tokens else None,
                )
            )
        return tuple(cited)


def _ends(scores: Scores) -> tuple[Ranked, Ranked]:
    rows = len(scores.train_ids)
    below = max(0, min(OPPONENTS, rows - PROPONENTS))
    return scores.top(PROPONENTS), scores.top(below, opponents=True)


def _hits(proponents: tuple[Cited, ...], query: Example) -> str:
    if query.label is None:
        return ""
    return f"{sum(row.same is True for row in proponents)} of {len(proponents)}"


def _judged(trace: TraceCheck) -> Judged:
    return Judged(
        short(trace.method),
        stamp_of_word(trace.verdict.word),
        chance(trace.verdict.number),
        tuple(one_line(reason, REASON) for reason in trace.verdict.reasons[:MOST_REASONS]),
    )


def _sample(
    query: Example,
    verdict: Judged | None,
    full: tuple[Evidence, ...],
    brief: tuple[Evidence, ...],
) -> Sample:
    return Sample(
        id=short(query.id, 40),
        source=one_line(query.source, 60),
        label=class_of(query),
        glimpse=one_line(query.prompt, 90) or one_line(query.response, 90),
        prompt=printable(query.prompt, QUERY_EXCERPT),
        response=printable(query.response, QUERY_EXCERPT),
        verdict=verdict,
        full=full,
        brief=brief,
    )
