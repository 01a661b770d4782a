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


def correlation(value: float) -> str:
    """A correlation with three decimals; its sign only where it is negative.

    Example:
        >>> correlation(0.7), correlation(-0.0312), correlation(float("nan"))
        ('0.700', '−0.031', '–')
    """
    return _signed(f"{value:.3f}") if math.isfinite(value) else NOTHING


def span(low: str, high: str) -> str:
    """Both ends of an interval that may be negative; empty where either is unknown.

    Example:
        >>> span("−0.120", "0.310"), span("–", "0.310")
        ('−0.120 to 0.310', '')
    """
    return "" if NOTHING in (low, high) else f"{low} to {high}"


def change(value: float) -> str:
    """A difference of outcomes, written as a score; a dash where it is unknown.

    Example:
        >>> change(0.25), change(float("nan"))
        ('+0.250', '–')
    """
    return score(value) if math.isfinite(value) else NOTHING


def magnitude(value: float) -> str:
    """A size of any order of magnitude, with two digits.

    Example:
        >>> magnitude(0.0), magnitude(3.14e-7)
        ('0', '3.1e−07')
    """
    return _signed(f"{value:.2g}") if math.isfinite(value) else NOTHING


def p_value(value: float) -> str:
    """A p-value with three decimals.

    Example:
        >>> p_value(1 / 21), p_value(0.0002)
        ('0.048', '< 0.001')
    """
    if not math.isfinite(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


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
