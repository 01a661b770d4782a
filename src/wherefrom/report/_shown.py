"""What the pages of single queries show: which queries, and which methods in full."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wherefrom.methods import predicts_removal
from wherefrom.report._choice import distinct_methods, sample_queries
from wherefrom.report._data import Key, ReportData
from wherefrom.report._figures import Figures, standing
from wherefrom.run import LEADING
from wherefrom.scores import Scores

MOST_QUERIES = 8
MOST_METHODS = 3


@dataclass(frozen=True)
class Shown:
    """The queries that have a page, and the methods on it.

    Attributes:
        positions: of the queries, one of each class first.
        order: every recipe and method, best first.
        full: those shown in full; that whose answers were checked is among them, and where there is one,
            one that foretells what removing a row does.
        scores: of these queries alone: ranking all of a large run would take minutes.
    """

    positions: tuple[int, ...]
    order: tuple[Key, ...]
    full: tuple[Key, ...]
    scores: dict[Key, Scores]

    @classmethod
    def of(cls, data: ReportData, figures: Figures | None = None) -> Shown:
        """What a report shows."""
        order = standing(data, Figures.of(data) if figures is None else figures)
        positions = sample_queries(data.queries, MOST_QUERIES) if data.train else ()
        ids = tuple(data.queries[position].id for position in positions)
        cut = {
            key: replace(
                data.scores[key], values=data.scores[key].values[list(positions)], query_ids=ids
            )
            for key in order
        }
        full = distinct_methods(order, cut, MOST_METHODS)
        checked = checked_key(data)
        kept: tuple[Key, ...] = () if checked is None else (checked,)
        if not any(predicts_removal(cut[key].unit) for key in (*full, *kept)):
            foretelling = [key for key in order if predicts_removal(cut[key].unit)]
            # the one that check and trace lead with, under the run's own recipe, if it is there
            own = next(iter(data.scores), ("", ""))[0]
            foretelling.sort(key=lambda key: (_place(key[1]), key[0] != own))
            kept += tuple(foretelling[:1])
        others = [key for key in full if key not in kept][: MOST_METHODS - len(kept)]
        return cls(positions, order, tuple(sorted((*others, *kept), key=order.index)), cut)


def _place(method: str) -> int:
    return LEADING.index(method) if method in LEADING else len(LEADING)


def checked_key(data: ReportData) -> Key | None:
    """Recipe and method whose answers were checked; None where none were, or their scores are unknown."""
    if data.trust is None:
        return None
    return next((key for key in data.scores if key[1] == data.trust.method), None)
