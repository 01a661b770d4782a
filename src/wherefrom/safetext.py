"""Training text is hostile text: what may be shown of it, and what is taken out first."""

from __future__ import annotations

import re
import unicodedata

_KEEP = {"\n", "\t"}
# A spreadsheet takes a cell that starts so for a formula, whoever wrote it; the wide forms too.
_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]")


def printable(text: str, limit: int | None = None) -> str:
    r"""Text that cannot move the cursor, recolour a terminal or reverse its neighbours.

    Control characters, terminal escapes, bidirectional overrides and lone surrogates become U+FFFD;
    newlines and tabs stay. With `limit`, longer text is cut there and ends in an ellipsis.

    Example:
        >>> printable("red \x1b[31mtext")
        'red \ufffd[31mtext'
        >>> printable("abcdef", limit=4)
        'abc…'
    """
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    return "".join(
        c if c in _KEEP or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co") else "\ufffd"
        for c in text
    )


def one_line(text: str, limit: int = 80) -> str:
    """`printable` text on one line, runs of white space joined, cut at `limit` characters."""
    return printable(" ".join(text[: 8 * limit].split()), limit)


def for_spreadsheet(text: str) -> str:
    """Text that no spreadsheet computes: what looks like a formula gets a leading apostrophe.

    Example:
        >>> for_spreadsheet("=1+1"), for_spreadsheet("one")
        ("'=1+1", 'one')
    """
    return f"'{text}" if _FORMULA.match(text) else text
