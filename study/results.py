"""Results: every number that the page states, from the cells that are there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from study.cells import rounded
from study.plan import cells
from study.read import Made, read_all
from study.sections.ablation import ablation, masks
from study.sections.along import along, told
from study.sections.classes import class_tables
from study.sections.defaults import chosen
from study.sections.mechanisms import mechanisms
from study.sections.models import adapters, ladder, large
from study.sections.retrieval import retrieval
from study.sections.truth import grid
from wherefrom.run import AT_THE_END, DEFAULT_METHOD


def results(made: Sequence[Made] | None = None) -> dict[str, Any]:
    """All numbers, by section; a section whose cells are missing is empty.

    Args:
        made: the cells; all that were computed when None.
    """
    made = read_all(cells()) if made is None else made
    planned = Counter(one.part for one in cells())
    parts = {name: [one for one in made if one.cell.part == name] for name in planned}
    found = {
        "cells": {name: [len(part), planned[name]] for name, part in parts.items()},
        "machines": sorted({one.made["cpu"] for one in made}),
        "seconds": sum(one.made["seconds"] for one in made),
        "default": DEFAULT_METHOD,
        "at_the_end": AT_THE_END,
        "grid": grid(parts["grid"]),
        "choice": chosen(parts["grid"]),
        "along": along(parts["along"]),
        "verdicts": told(parts["verdicts"]),
        "choice_judged": {},
        "masks": masks(parts["masks"]),
        "retrieval": retrieval(parts["grid"]),
        "ablation": ablation(parts["grid"]),
        "large": large(parts["large"]),
        "ladder": ladder(parts["ladder"]),
        "adapters": adapters(parts["adapters"]),
        "mechanisms": mechanisms(parts["mechanisms"]),
        "classes": class_tables(parts["classes"]),
    }
    if found["choice"]:
        found["choice_judged"] = {name: there for name, _, there in found["choice"]["ranked"]}
    found["has_cost"] = any(
        line["cost"] is not None
        for run in found["large"].values()
        for line in run["methods"].values()
    )
    return dict(rounded(found, 4))
