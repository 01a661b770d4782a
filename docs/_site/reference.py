"""Pages of what there is, from the registries that the program itself looks in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from wherefrom.data import RECIPES, SHAPES, Recipe
from wherefrom.diagnose import list_checks
from wherefrom.methods import COSTS, BlockMethod, Method, registered
from wherefrom.metrics import list_metrics
from wherefrom.signals import At, Need
from wherefrom.tasks import list_tasks

_SECTION = re.compile(r"^(?:Attributes|Args|Returns|Raises|Example|Source):\s*$", re.MULTILINE)
_PAPER = re.compile(r"\d{4}\.\d{5}")
_SETTING = re.compile(r"^(\w+): (.+(?:\n[ ]{4,}.+)*)", re.MULTILINE)


def pages() -> dict[str, str]:
    """Every generated page by its name, as Markdown."""
    return {
        "methods": methods(),
        "metrics": _listed(
            "Metrics",
            "What each formula is, what its interval covers and where it misleads: "
            "[Metrics](../metrics.md). These judge scores by class; `recall@K` takes any K. Retraining, "
            "agreement and the rest are functions of `wherefrom.metrics`.",
            list_metrics(),
        ),
        "tasks": _listed(
            "Tasks",
            "What each one teaches, and what a method that only reads text makes of it: "
            "[Tasks](../tasks.md).",
            list_tasks(),
        ),
        "checks": _listed(
            "Checks",
            "What each one catches, and the verdict: [Trust](../trust.md).",
            list_checks(),
        ),
        "recipes": recipes(),
    }


def methods() -> str:
    """Every registered method: what it is, what it costs and what it can be told."""
    made = {name: cls() for name, cls in registered().items()}
    order = sorted(made, key=lambda name: (COSTS.index(made[name].cost), name))
    rows = [
        f"| [`{name}`](#{name}) | {made[name].family} | {made[name].cost} | {_paper(made[name])} |"
        for name in order
    ]
    return "\n\n".join(
        [
            "# Methods",
            f"{len(made)} methods, cheapest first. [Formulas side by side](../methods.md), "
            "[what a cost class is](../methods.md#what-a-method-costs). Every score has one sign: "
            "**higher = pushed the model more towards the query's response**.",
            "\n".join(["| method | family | cost | paper |", "|---|---|---|---|", *rows]),
            "## Modifiers",
            "Methods on gradients take these beside their own settings.",
            _settings(BlockMethod.__mro__[1], {}),
            *(_method(made[name]) for name in order),
        ]
    )


def recipes() -> str:
    """Recipes with every choice, and the shapes that rows are read in."""
    names = [one.name for one in fields(Recipe) if one.name != "name"]
    rows = [
        f"| `{name}` | " + " | ".join(f"`{getattr(one, name)}`" for one in RECIPES.values()) + " |"
        for name in names
    ]
    head = "| choice | " + " | ".join(f"`{name}`" for name in RECIPES) + " |"
    shapes = [
        f"| `{one.name}` | {_names(one.columns)} | {_names(one.optional)} |"
        for one in SHAPES.values()
    ]
    return "\n\n".join(
        [
            "# Recipes and row shapes",
            "## Recipes",
            "A recipe holds every choice that the literature disagrees on. A changed default is a new "
            "version.",
            "\n".join([head, "|---" * (len(RECIPES) + 1) + "|", *rows]),
            _settings(Recipe, {}, skip=("name",)),
            "## Row shapes",
            "Detected from the columns, or given with `--shape`: [Data](../data.md).",
            "\n".join(["| shape | columns | optional |", "|---|---|---|", *shapes]),
        ]
    )


def _method(one: Method) -> str:
    about = _text(type(one))
    facts = {
        "family": one.family,
        "paper": _paper(one) or "–",
        "cost": one.cost,
        "unit": one.unit,
        "needs": _needs(one.needs) or "text alone",
        "also needs": "; ".join(sorted(resource.value for resource in one.requires)),
        "sets apart": "; ".join(sorted(trait.value for trait in one.traits)),
        "`--methods all` runs": ", ".join(f"`{each.spec}`" for each in type(one).variants()),
    }
    table = [f"| {key} | {_cell(value)} |" for key, value in facts.items() if value]
    parts = [f"## {one.name}", about, "\n".join(["| | |", "|---|---|", *table])]
    modifiers = {f.name: f.default for f in fields(BlockMethod)}
    shared = modifiers if isinstance(one, BlockMethod) else {}
    parts.append(_settings(type(one), shared))
    if isinstance(one, BlockMethod):
        parts.append("It takes the [modifiers](#modifiers) as well.")
    return "\n\n".join(part for part in parts if part)


def _settings(cls: type[Any], shared: Mapping[str, Any], skip: Iterable[str] = ()) -> str:
    """Settings with their defaults; of those that are shared only what this class has otherwise."""
    told: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        told |= _told(base)
    rows = []
    for one in fields(cls):
        if one.name in skip or (one.name in shared and shared[one.name] == one.default):
            continue
        default = "**needed**" if one.default is MISSING else f"`{_value(one.default)}`"
        rows.append(f"| `{one.name}` | {default} | {_cell(told.get(one.name, ''))} |")
    if not rows:
        return ""
    return "\n".join(["| setting | if not given | |", "|---|---|---|", *rows])


def _told(cls: type[Any]) -> dict[str, str]:
    doc = inspect.cleandoc(cls.__doc__ or "")
    _, found, section = doc.partition("Attributes:\n")
    if not found:
        return {}
    section = inspect.cleandoc("\n" + _SECTION.split(section)[0])
    return {name: " ".join(text.split()) for name, text in _SETTING.findall(section)}


def _text(cls: type[Any]) -> str:
    return _SECTION.split(inspect.cleandoc(cls.__doc__ or ""))[0].strip()


def _needs(needs: Iterable[Need]) -> str:
    places: dict[str, set[str]] = {}
    for need in needs:
        where = "" if need.at is At.FINAL else f" at {need.at.value}"
        places.setdefault(f"{need.slug}{where}", set()).add(need.side.value)
    return "; ".join(f"{what} ({', '.join(sorted(who))})" for what, who in sorted(places.items()))


def _paper(one: Method) -> str:
    if _PAPER.fullmatch(one.paper):
        return f"[{one.paper}](https://arxiv.org/abs/{one.paper})"
    return one.paper


def _listed(title: str, about: str, things: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {_cell(text)} |" for name, text in things.items()]
    return "\n\n".join([f"# {title}", about, "\n".join(["| name | |", "|---|---|", *rows])])


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns) or "–"


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value) or "–"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
