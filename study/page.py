"""The page: prose from a template, every number from the results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from study.cells import ROOT
from study.plan import cells
from study.read import Made, read_all
from wherefrom.atomic import write_text

RESULTS = ROOT / "docs" / "results"
TEMPLATES = Path(__file__).parent / "templates"
PAGES = {"study.md.jinja": "study.md", "study-cells.md.jinja": "study-cells.md"}


def write_results(found: dict[str, Any], folder: Path = RESULTS) -> Path:
    """Writes the results for machines, one line a section's entry."""
    path = folder / "study.json"
    write_text(path, json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    return path


def render(found: dict[str, Any], made: list[Made] | None = None) -> dict[str, str]:
    """The pages' text.

    Args:
        found: the results, as the JSON file has them.
        made: cells that the list of cells tells of; all that were computed when None.

    Returns:
        By file name.
    """
    environment = Environment(  # noqa: S701 - Markdown of our own numbers
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"ci": ci, "pct": pct, "pci": percent_ci, "num": number, "sure": sure}
    environment.filters["num_of"] = lambda estimate: number(estimate[0])
    environment.filters["by_value"] = by_value
    shown = read_all(cells()) if made is None else made
    listed = [(one, one.cell.settings, one.made) for one in shown]
    return {
        name: environment.get_template(template).render(
            **found, listed=listed, commands=commands, progress=progress(found["cells"])
        )
        for template, name in PAGES.items()
    }


def progress(counts: dict[str, list[int]]) -> str:
    """How many cells of every part are made."""
    return ", ".join(f"{name} {done} of {all_}" for name, (done, all_) in counts.items()) + "."


def number(value: float | None, digits: int = 2) -> str:
    """A number, a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}".replace("-", "−")


def ci(estimate: list[float | None]) -> str:
    """A number and its 95 % interval."""
    value, low, high = estimate
    if low is None:
        return number(value)
    return f"{number(value)} [{number(low)} to {number(high)}]"


def pct(value: float | None) -> str:
    """A share in percent."""
    return "–" if value is None else f"{100 * value:.0f}".replace("-", "−")


def percent_ci(estimate: list[float | None]) -> str:
    """A share and its 95 % interval, in percent."""
    value, low, high = estimate
    return pct(value) if low is None else f"{pct(value)} [{pct(low)} to {pct(high)}]"


def sure(estimate: list[float]) -> int:
    """1 where a difference lies above 0 outside its interval, −1 where below, else 0."""
    _, low, high = estimate
    if low is None:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0


def by_value(lines: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    """Entries of a table, the highest value of one of their estimates first."""
    return sorted(lines.items(), key=lambda line: -(line[1][key][0] or 0.0))


def commands(part: str) -> str:
    """What makes the cells of a part again."""
    first = next(one for one in cells() if one.part == part)
    return f"`{first.command}`, and so for [each cell of the part](study-cells.md)"
