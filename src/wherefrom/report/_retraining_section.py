"""The section on retraining: its chart and its tables."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wherefrom.report._chart import Chart
from wherefrom.report._data import ReportData
from wherefrom.report._figures import Figures
from wherefrom.report._lds_chart import lds_chart
from wherefrom.report._names import short
from wherefrom.report._numbers import magnitude
from wherefrom.report._retraining_tables import retraining_tables
from wherefrom.report._scatter import Scatter, scatter
from wherefrom.report._table import Table


@dataclass(frozen=True)
class RetrainingSection:
    """Everything that the section shows.

    Attributes:
        recipe: whose scores were judged; empty where the run has no other.
        gap: how far retraining on all rows misses the run's own model; empty where unknown.
        scatter: the chart where class match is known.
        intervals: the chart where it is not.
        tables: one for each part that was done.
    """

    recipe: str
    gap: str
    scatter: Scatter | None
    intervals: Chart | None
    tables: tuple[Table, ...]


def retraining_section(data: ReportData, figures: Figures) -> RetrainingSection | None:
    """The section; None where nothing came of retraining, or none was done."""
    retraining = data.retraining
    if retraining is None:
        return None
    tables = retraining_tables(retraining)
    if not tables:
        return None
    several = len({recipe for recipe, _ in data.scores}) > 1
    drawn = scatter(data, figures)
    return RetrainingSection(
        recipe=short(retraining.recipe, 40) if several else "",
        gap=magnitude(retraining.gap) if math.isfinite(retraining.gap) else "",
        scatter=drawn,
        intervals=None if drawn else lds_chart(retraining),
        tables=tables,
    )
