"""Answer: one traced query and the rows behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.answers._by import Share, by_column
from wherefrom.answers._copies import Group, group_numbers, grouped
from wherefrom.answers._null import Null
from wherefrom.answers._removal import removal
from wherefrom.atomic import atomic_path
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.scores import SIGN, Ranked, Scores, as_xarray

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from wherefrom.diagnose import TraceCheck

COLUMNS = (
    *("query", "method", "unit", "side", "rank", "score", "removal", "percentile", "row", "number"),
    *("source", "label", "group", "copies", "prompt", "response"),
)
"""Of the table that an answer converts to."""


@dataclass(frozen=True)
class Line:
    """One training row as evidence.

    Attributes:
        query: id of the query.
        method: as typed.
        unit: of the score.
        side: `proponent` or `opponent`.
        rank: from 1 at its own end.
        score: higher = pushed the model more towards the response.
        removal: predicted change of the response's log-probability without the row, in nats; None where
            the method defines none.
        percentile: share of unrelated queries for which the row scores lower than here, 0 to 1, each
            query's scores in units of their own spread; None where it was not measured.
        row: id.
        number: the row's place in the training set, from 1.
        source: file and line that it was read from, `train.jsonl:17`.
        label: class; None where the row has none.
        group: number of its group of near-duplicates, from 0.
        copies: rows in that group, itself counted.
        prompt: text.
        response: text.
    """

    query: str
    method: str
    unit: str
    side: str
    rank: int
    score: float
    removal: float | None
    percentile: float | None
    row: str
    number: int
    source: str
    label: str | None
    group: int
    copies: int
    prompt: str
    response: str


@dataclass(frozen=True)
class Answer:
    """What `trace` found for one query.

    Attributes:
        query: the prompt and the response that was traced.
        generated: whether the model gave the response itself.
        scores: one query × training rows, for each method asked for, the leading one first.
        train: the training rows.
        trust: the verdict on what the leading method found.
        seconds: how long the trace took, loading the model included where it was not loaded.
        nulls: by method, its scores of unrelated queries; empty where none were asked.
    """

    query: Example
    generated: bool
    scores: tuple[Scores, ...]
    train: tuple[Example, ...]
    trust: TraceCheck
    seconds: float
    nulls: dict[str, Null] = field(default_factory=dict, compare=False)

    def top(self, k: int = 10) -> Ranked:
        """Proponents by the leading method: the rows that pushed most towards the response."""
        return self.scores[0].top(k)

    def opponents(self, k: int = 10) -> Ranked:
        """Opponents by the leading method: the rows that pushed most against the response."""
        return self.scores[0].top(k, opponents=True)

    def of(self, method: str | None = None) -> Scores:
        """The scores of a method; of the leading one when None.

        Raises:
            SettingError: the answer has no scores of it.
        """
        for scores in self.scores:
            if method in (None, scores.method):
                return scores
        known = ", ".join(scores.method for scores in self.scores)
        raise SettingError(f"the answer has no scores of {method!r}, but of {known}.")

    def lines(
        self, k: int = 10, method: str | None = None, *, opponents: bool = False
    ) -> list[Line]:
        """The k rows at one end of a method's ranking, with everything that is known of them."""
        scores = self.of(method)
        predicted = removal(scores)
        null = self.nulls.get(scores.method)
        percentiles = null.percentiles(scores) if null is not None else None
        sizes = np.bincount(self._groups)
        ranked = scores.top(k, opponents=opponents)
        found = []
        for rank, index in enumerate(ranked.indices[0].tolist(), start=1):
            row, group = self.train[index], int(self._groups[index])
            found.append(
                Line(
                    query=self.query.id,
                    method=scores.method,
                    unit=scores.unit,
                    side="opponent" if opponents else "proponent",
                    rank=rank,
                    score=float(scores.values[0, index]),
                    removal=None if predicted is None else float(predicted[0, index]),
                    percentile=None if percentiles is None else _known(percentiles[index]),
                    row=row.id,
                    number=index + 1,
                    source=row.source,
                    label=row.label,
                    group=group,
                    copies=int(sizes[group]),
                    prompt=row.prompt,
                    response=row.response,
                )
            )
        return found

    def groups(
        self, k: int = 10, method: str | None = None, *, opponents: bool = False
    ) -> list[Group]:
        """Near-duplicate rows as one cause each, the k groups at one end of the ranking."""
        return grouped(self.of(method), self._groups, k, opponents=opponents)

    def by(self, column: str, method: str | None = None, k: int = 10) -> list[Share]:
        """Scores added up over the values of a column: `label`, `file`, or any column of the rows.

        Raises:
            SettingError: no row has the column.
        """
        return by_column(self.of(method), self.train, column, k)

    def to_pandas(self, k: int | None = None) -> pd.DataFrame:
        """One line for each method and row, with `COLUMNS`: all rows, or both ends of k rows each."""
        import pandas as pd

        lines: list[Line] = []
        for scores in self.scores:
            lines += self.lines(len(self.train) if k is None else k, scores.method)
            lines += [] if k is None else self.lines(k, scores.method, opponents=True)
        return pd.DataFrame([asdict(line) for line in lines], columns=list(COLUMNS))

    def to_xarray(self) -> xr.DataArray:
        """Scores as an array of spec (method as typed) × query × training row, ids as coordinates.

        Raises:
            SettingError: xarray is not installed.
        """
        return as_xarray(self.scores)

    def to_parquet(self, path: Path, k: int | None = None) -> None:
        """Writes `to_pandas` as a Parquet file, whole or not at all."""
        with atomic_path(path) as temporary:
            self.to_pandas(k).to_parquet(temporary, index=False)

    def to_json(self, k: int = 10) -> dict[str, Any]:
        """What a page shows of the answer: query, both ends for each method, verdict, seconds."""
        return {
            "query": {
                "id": self.query.id,
                "prompt": self.query.prompt,
                "response": self.query.response,
                "generated": self.generated,
            },
            "methods": [
                {
                    "method": scores.method,
                    "unit": scores.unit,
                    "proponents": [asdict(one) for one in self.lines(k, scores.method)],
                    "opponents": [
                        asdict(one) for one in self.lines(k, scores.method, opponents=True)
                    ],
                }
                for scores in self.scores
            ],
            "trust": self.trust.to_json(),
            "seconds": self.seconds,
            "sign": SIGN,
        }

    @cached_property
    def _groups(self) -> np.ndarray:
        return group_numbers(self.train)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
