"""Retraining: what became of models that were trained without some of the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from wherefrom.errors import DataError
from wherefrom.metrics import NoiseCeiling, Retrainings

if TYPE_CHECKING:
    import pandas as pd

_REMOVAL = ("low", "high", "excess", "excess_low", "excess_high", "p", "beyond", "queries", "seeds")

PARTS: Mapping[str, tuple[str, ...]] = {
    "lds": ("method", "value", "low", "high", "queries", "undefined", "subsets", "seeds"),
    "leave-out": ("method", "k", "drop", *_REMOVAL),
    "tail-patch": ("method", "k", "gain", *_REMOVAL),
    "brittleness": ("method", "median", "flipped", "queries"),
    "leave-one-out": ("method", "spearman", "queries"),
}
"""What can be known, and the columns that its frame has."""


@dataclass(frozen=True)
class Foretelling:
    """The linear datamodeling score (LDS) of one method; from -1 to 1, with its 95 % interval."""

    method: str
    value: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether both ends are known."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True, kw_only=True, eq=False)
class Retraining:
    """What retraining said of the scores of one recipe.

    Attributes:
        recipe: whose scores were judged.
        frames: by part (of `PARTS`), one line for each method (and k).
        ceiling: of the LDS; None where it is not known.
        gap: largest difference between an outcome after retraining on all rows and the same outcome of
            the run's own model; NaN where unknown.
        settings: what the last command asked for; of the parts that it did, under `parts`.
        retrainings: what the LDS is made from, for comparing two methods; None where it is not kept.

    Raises:
        DataError: a frame lacks a column, or no part is called so.
    """

    recipe: str
    frames: Mapping[str, pd.DataFrame]
    ceiling: NoiseCeiling | None = None
    gap: float = math.nan
    settings: Mapping[str, Any] = field(default_factory=dict)
    retrainings: Retrainings | None = None

    def __post_init__(self) -> None:
        for part, frame in self.frames.items():
            if part not in PARTS:
                raise DataError(f"retraining has no part {part!r}; there are {', '.join(PARTS)}.")
            missing = [column for column in PARTS[part] if column not in frame.columns]
            if missing:
                raise DataError(
                    f"{part} lacks the columns {', '.join(missing)}; it has "
                    f"{', '.join(map(str, frame.columns))}."
                )

    @cached_property
    def foretellings(self) -> tuple[Foretelling, ...]:
        """The LDS of every method that has one, best first."""
        if "lds" not in self.frames:
            return ()
        frame = self.frames["lds"]
        numbers = (frame[name].astype(float).tolist() for name in ("value", "low", "high"))
        found = (
            Foretelling(str(method), *three)
            for method, *three in zip(frame["method"].tolist(), *numbers, strict=True)
        )
        known = (one for one in found if math.isfinite(one.value))
        return tuple(sorted(known, key=lambda one: -one.value))

    @property
    def known_ceiling(self) -> float | None:
        """The noise ceiling; None where one seed, or the lack of any LDS, leaves it unknown."""
        if self.ceiling is None or not math.isfinite(self.ceiling.ceiling):
            return None
        return self.ceiling.ceiling

    def setting(self, part: str, name: str) -> Any:
        """What a part was asked with; None where another command did it, whose settings are gone."""
        return self.settings.get(name) if part in self.settings.get("parts", ()) else None
