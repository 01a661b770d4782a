"""How numbers are written on the page."""

from __future__ import annotations

import math

NOTHING = "–"


def percent(value: float) -> str:
    """A fraction in percent with one decimal, without the sign.

    Example:
        >>> percent(0.825), percent(float("nan"))
        ('82.5', '–')
    """
    return _signed(f"{100 * value:.1f}") if math.isfinite(value) else NOTHING


def interval(low: float, high: float) -> str:
    """Both ends of an interval in percent; empty where either is unknown.

    Example:
        >>> interval(0.7, 0.925)
        '70.0–92.5'
    """
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{percent(low)}–{percent(high)}"


def score(value: float) -> str:
    """A score with its sign and three digits.

    Example:
        >>> score(-0.01234)
        '−0.0123'
    """
    return _signed(f"{value:+#.3g}".removesuffix(".")) if value else "0"


def seconds(value: float | None) -> str:
    """Seconds, finer where they are few.

    Example:
        >>> seconds(0.034), seconds(12.34), seconds(4321.0), seconds(None)
        ('0.034', '12.3', '4,321', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if 0 < value < 0.001:
        return "< 0.001"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.3f}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "class", "classes"), counted(1200, "query", "queries")
        ('1 class', '1,200 queries')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def listed(items: list[str]) -> str:
    """Items as a sentence has them.

    Example:
        >>> listed(["a", "b", "c"])
        'a, b and c'
    """
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def _signed(text: str) -> str:
    return text.replace("-", "−")
