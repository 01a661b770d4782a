"""Sample queries: what each method says made the model answer so, as text side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wherefrom.data import Example
from wherefrom.report._choice import distinct_methods, sample_queries
from wherefrom.report._data import Key, ReportData
from wherefrom.report._names import class_of, method_names, short
from wherefrom.report._numbers import score
from wherefrom.safetext import one_line, printable
from wherefrom.scores import Ranked, Scores

MOST_QUERIES = 8
MOST_METHODS = 3
PROPONENTS = 5
OPPONENTS = 3
EXCERPT = 300
GLIMPSE = 56
QUERY_EXCERPT = 1200


@dataclass(frozen=True)
class Cited:
    """One training row as a method's evidence.

    Attributes:
        rank: from 1; the lowest score has the rank of the last row.
        same: whether it has the query's class; None where either has no label.
        glimpse: the row's first words.
    """

    rank: str
    score: str
    id: str
    source: str
    label: str
    same: bool | None
    prompt: str
    response: str
    glimpse: str


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
class Sample:
    """One query and the evidence for it, in full for some methods and in brief for the others."""

    id: str
    source: str
    label: str
    glimpse: str
    prompt: str
    response: str
    full: tuple[Evidence, ...]
    brief: tuple[Evidence, ...]


def samples(data: ReportData, standing: tuple[Key, ...]) -> tuple[Sample, ...]:
    """Up to `MOST_QUERIES` queries, one of each class first.

    Args:
        data: the report's.
        standing: recipes and methods, best first.
    """
    positions = sample_queries(data.queries, MOST_QUERIES)
    if not positions or not data.train:
        return ()
    ids = tuple(data.queries[position].id for position in positions)
    # Only these queries are ranked: ranking all of a large run would take minutes.
    cut = {
        key: replace(
            data.scores[key], values=data.scores[key].values[list(positions)], query_ids=ids
        )
        for key in standing
    }
    full = distinct_methods(standing, cut, MOST_METHODS)
    names = method_names(standing)
    ends = {key: _ends(scores) for key, scores in cut.items()}

    def evidence(key: Key, place: int) -> Evidence:
        query = data.queries[positions[place]]
        top, bottom = ends[key]
        proponents = _cited(top, place, query, data.train, from_below=False)
        return Evidence(
            method=names[key],
            unit=short(cut[key].unit, 40),
            hits=_hits(proponents, query),
            proponents=proponents,
            opponents=_cited(bottom, place, query, data.train, from_below=True),
        )

    return tuple(
        _sample(
            data.queries[position],
            full=tuple(evidence(key, place) for key in full),
            brief=tuple(evidence(key, place) for key in standing if key not in full),
        )
        for place, position in enumerate(positions)
    )


def _ends(scores: Scores) -> tuple[Ranked, Ranked]:
    rows = len(scores.train_ids)
    below = max(0, min(OPPONENTS, rows - PROPONENTS))
    return scores.top(PROPONENTS), scores.top(below, opponents=True)


def _cited(
    top: Ranked, place: int, query: Example, train: tuple[Example, ...], *, from_below: bool
) -> tuple[Cited, ...]:
    cited = []
    pairs = zip(top.indices[place].tolist(), top.values[place].tolist(), strict=True)
    for rank, (index, value) in enumerate(pairs):
        row = train[index]
        unknown = row.label is None or query.label is None
        cited.append(
            Cited(
                rank=f"{len(train) - rank if from_below else rank + 1:,}",
                score=score(value),
                id=short(row.id, 40),
                source=one_line(row.source, 60),
                label=class_of(row),
                same=None if unknown else row.label == query.label,
                prompt=one_line(row.prompt, EXCERPT),
                response=one_line(row.response, EXCERPT),
                glimpse=one_line(row.prompt, GLIMPSE) or one_line(row.response, GLIMPSE),
            )
        )
    return tuple(cited)


def _hits(proponents: tuple[Cited, ...], query: Example) -> str:
    if query.label is None:
        return ""
    return f"{sum(row.same is True for row in proponents)} of {len(proponents)}"


def _sample(query: Example, full: tuple[Evidence, ...], brief: tuple[Evidence, ...]) -> Sample:
    return Sample(
        id=short(query.id, 40),
        source=one_line(query.source, 60),
        label=class_of(query),
        glimpse=one_line(query.prompt, 90) or one_line(query.response, 90),
        prompt=printable(query.prompt, QUERY_EXCERPT),
        response=printable(query.response, QUERY_EXCERPT),
        full=full,
        brief=brief,
    )
