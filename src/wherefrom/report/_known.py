"""Numbers of a check as they may come from a file."""

from __future__ import annotations

import math
from typing import Any


def known(value: Any) -> float:
    """A number as it is; NaN for what is none, as a check has it whose JSON knows no NaN.

    Example:
        >>> known(0.5), known(None), known(True)
        (0.5, nan, nan)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def numbers(value: Any) -> tuple[float, ...]:
    """The numbers of a list; empty where it is none.

    Example:
        >>> numbers([1, None]), numbers("12")
        ((1.0, nan), ())
    """
    return tuple(known(one) for one in value) if isinstance(value, list | tuple) else ()
