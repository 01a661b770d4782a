"""Numbers and ids as findings say them."""

from __future__ import annotations

from collections.abc import Sequence

from wherefrom.safetext import one_line

LISTED = 50
"""How many ids the values of a finding list at most."""


def percent(share: float) -> str:
    """A share in per cent, without pretending to more digits than it has.

    Example:
        >>> percent(0.0312), percent(0.5), percent(0.9996)
        ('3.1 %', '50 %', '99.96 %')
    """
    value = 100 * share
    if 0 < value < 10:
        return f"{value:.2g} %"
    return f"{value:.4g} %" if 99 < value < 100 else f"{value:.0f} %"


def counted(number: int, noun: str, many: str = "") -> str:
    """A number and its noun.

    Example:
        >>> counted(1, "row"), counted(1200, "row"), counted(2, "query", "queries")
        ('1 row', '1,200 rows', '2 queries')
    """
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def named(ids: Sequence[str], most: int = 3) -> str:
    r"""Ids, the first few of them; what could move a cursor is taken out.

    Example:
        >>> named(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    shown = ", ".join(one_line(one, 40) for one in ids[:most])
    return shown if len(ids) <= most else f"{shown} and {len(ids) - most} more"
