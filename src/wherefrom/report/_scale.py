"""A straight scale from values to places in a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

# More ticks than this crowd an axis.
MOST_TICKS = 9
# Dots on the rim of the plot would be cut in half.
MARGIN = 0.04
# Values that are all alike still need a scale.
NARROWEST = 0.05


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` at places from `start` to `end`; the end may be the lower one."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: Iterable[float], start: float, end: float) -> Scale:
        """The scale that shows all of some values, with a little air around them."""
        known = [value for value in values if math.isfinite(value)]
        low, high = min(known, default=0.0), max(known, default=0.0)
        air = max(MARGIN * (high - low), (NARROWEST - (high - low)) / 2)
        return cls(low - air, high + air, start, end)

    @classmethod
    def close(cls, values: Iterable[float], start: float, end: float) -> Scale:
        """As `around`, however little the values differ: for what is measured in no known unit."""
        known = [value for value in values if math.isfinite(value)]
        low, high = min(known, default=0.0), max(known, default=0.0)
        air = MARGIN * (high - low)
        return cls(low - air, high + air, start, end) if air else cls.around(known, start, end)

    def place(self, value: float) -> float:
        """Where a value lies.

        Example:
            >>> Scale(0.0, 1.0, 100.0, 300.0).place(0.5)
            200.0
        """
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int = MOST_TICKS) -> tuple[float, ...]:
        """Fewer than `most` round values within the scale, in steps of 1, 2 or 5 times a power of ten.

        Example:
            >>> Scale(-0.1, 0.9, 0.0, 1.0).ticks()
            (0.0, 0.2, 0.4, 0.6, 0.8)
        """
        width = self.high - self.low
        power = 10.0 ** math.floor(math.log10(width / most))
        step = next(s * power for s in (1, 2, 5, 10, 20) if width / (s * power) < most)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return tuple(float(f"{i * step:.10g}") for i in range(first, last + 1))
