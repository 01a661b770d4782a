"""Notebooks as pages: their cells in order, as they are stored."""

from __future__ import annotations

import json
from pathlib import Path


def page(path: Path) -> str:
    """The notebook as Markdown, with a link to the file itself.

    Args:
        path: a notebook, stored without outputs.
    """
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
    about = f"*[{path.name}]({path.name}) as a notebook; every change to the code runs it from end to end.*"
    return "\n\n".join([parts[0], about, *parts[1:]]) + "\n"
