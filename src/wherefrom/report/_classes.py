"""Which rows belong to which class, and the order that puts each class together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from wherefrom.data import Example
from wherefrom.report._data import ReportData
from wherefrom.report._names import NO_LABEL, short


@dataclass(frozen=True)
class Axis:
    """Rows sorted by class.

    Attributes:
        codes: class of each row, in the rows' own order.
        order: positions of the rows, class by class.
        spans: first and last-plus-one place of each class in `order`.
    """

    codes: np.ndarray
    order: np.ndarray
    spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Classes:
    """The classes of both axes, in one order: of first appearance, rows without a label last.

    Attributes:
        names: as shown.
        labelled: how many of them are classes; the rest is the lack of a label.
    """

    names: tuple[str, ...]
    labelled: int
    train: Axis
    queries: Axis

    @classmethod
    def of(cls, data: ReportData) -> Classes:
        """The classes of a report's rows and queries."""
        labels = list(dict.fromkeys(row.label for row in (*data.train, *data.queries)))
        named = [label for label in labels if label is not None]
        lacking = len(labels) > len(named)
        codes: dict[str | None, int] = {label: code for code, label in enumerate(named)}
        codes[None] = len(named)
        return cls(
            names=(*(short(label, 40) for label in named), *([NO_LABEL] if lacking else [])),
            labelled=len(named),
            train=_axis(data.train, codes, len(labels)),
            queries=_axis(data.queries, codes, len(labels)),
        )

    def matches(self) -> np.ndarray:
        """Boolean matrix, queries × training rows: True where both have the same class."""
        same = self.queries.codes[:, None] == self.train.codes[None, :]
        return np.asarray(same & (self.queries.codes < self.labelled)[:, None])


def _axis(rows: Sequence[Example], codes: dict[str | None, int], count: int) -> Axis:
    own = np.array([codes[row.label] for row in rows], dtype=np.int64)
    edges = np.concatenate([[0], np.cumsum(np.bincount(own, minlength=count))]).tolist()
    return Axis(
        codes=own,
        order=np.argsort(own, kind="stable"),
        spans=tuple(pairwise(edges)),
    )
