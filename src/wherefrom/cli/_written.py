"""What is printed, into a file instead."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

from wherefrom.atomic import write_text
from wherefrom.progress import say


def printed(show: Callable[[], None], out: Path | None, what: str) -> None:
    """Prints, or writes what would be printed to a file, whole or not at all.

    Args:
        show: prints.
        out: the file; standard output when None.
        what: it is, for the line that names the file.
    """
    if out is None:
        show()
        return
    held = io.StringIO()
    with redirect_stdout(held):
        show()
    write_text(out, held.getvalue())
    say(f"{what}: {out}")
