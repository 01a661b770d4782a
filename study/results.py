"""Results: every number that the page states, from the cells that are there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from study import choice, factors
from study.ablation import MASKS
from study.cells import rounded
from study.grouped import ORACLE
from study.plan import ADAPTERS, LADDER, REMOVED, TRAINED_ON, WAYS, cells, side_of
from study.read import Made, difference, estimate, methods_of, of, read_all
from wherefrom.methods import parse_method
from wherefrom.metrics import Estimate
from wherefrom.run import DEFAULT_METHOD

PAPER_NUMBERS = {
    "harmful:S": {
        "gradient_dot": (17.5, 54.8),
        "paper_lissa": (17.5, 54.8),
        "datainf": (90.0, 61.4),
    },
    "harmful:L": {
        "gradient_dot": (21.2, 10.7),
        "paper_lissa": (21.2, 10.7),
        "datainf": (10.0, 10.1),
    },
    "emotion": {"gradient_dot": (26.7, 21.8), "datainf": (31.8, 24.6)},
    "grammars": {
        "gradient_dot": (14.0, 12.6),
        "paper_lissa": (15.0, 12.9),
        "datainf": (39.0, 24.4),
    },
    "math": {"gradient_dot": (100.0, 84.5), "paper_lissa": (100.0, 84.5), "datainf": (100.0, 82.5)},
    "backdoor": {"repsim": (99.0, 67.2)},
}
"""Accuracy and coverage in percent of Llama-2-7b, from the scores released with arXiv 2409.19998."""
CHANCE = "random"
TRACED = "influence"
"""The method that the mechanisms' cells follow along training."""
SHOWN = (
    *(
        "influence(curvature=true, checkpoints=rate)",
        "influence(curvature=true)",
        "ekfac",
        "influence",
    ),
    *(
        "datainf",
        "paper_lissa",
        "gradient_dot",
        "gradient_cosine",
        "for_value",
        "rept(halves=unit)",
    ),
    *("repsim", "repsim(position=mean_response)", "repsim(position=mean_all)", "knn_shapley"),
    *("bm25", "tfidf", "random"),
)
"""Methods of tables that are no place for all of them."""
REACHED = {"accuracy": 0.99, "coverage": 0.95}
SCALED = (
    *("influence(curvature=true)", "influence", "gradient_dot", "datainf", "for_value"),
    *("repsim", "repsim(position=mean_response)", "bm25", "random"),
)


def results(made: Sequence[Made] | None = None) -> dict[str, Any]:
    """All numbers, by section; a section whose cells are missing is empty.

    Args:
        made: the cells; all that were computed when None.
    """
    made = read_all(cells()) if made is None else made
    parts = {
        name: [one for one in made if one.cell.part == name]
        for name in ("grid", "masks", "ladder", "adapters", "mechanisms", "large", "classes")
    }
    planned: dict[str, int] = {}
    for one in cells():
        planned[one.part] = planned.get(one.part, 0) + 1
    found = {
        "cells": {name: [len(part), planned[name]] for name, part in parts.items()},
        "machines": sorted({one.made["cpu"] for one in made}),
        "seconds": sum(one.made["seconds"] for one in made),
        "default": DEFAULT_METHOD,
        "grid": grid(parts["grid"]),
        "choice": chosen(parts["grid"]),
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


def grid(made: Sequence[Made]) -> dict[str, Any]:
    """Every method against retraining: on all cells, and by task and way of training."""
    if not made:
        return {}
    names = methods_of(made)
    return {
        "methods": {
            name: {
                "all": estimate(made, of(name, "lds")),
                "ap": estimate(made, of(name, "ap")),
                "family": family_of(name),
                "cost": None if name == ORACLE else choice.cost_of(name),
                "by_task": _by(made, name, lambda one: one.task),
                "by_way": _by(made, name, lambda one: str(one.cell.settings["way"])),
            }
            for name in names
        },
        "runs": [
            {
                "cell": one.cell.name,
                "task": one.task,
                "side": side_of(one.task),
                "way": one.cell.settings["way"],
                "rows": one.found["about"]["rows"],
                "loss": one.found["about"]["loss"],
                "ceiling": one.found["about"]["ceiling"],
                "default": _mean(one.values(DEFAULT_METHOD, "lds")),
            }
            for one in made
        ],
        "ceiling": {
            way: float(
                np.mean(
                    [o.found["about"]["ceiling"] for o in made if o.cell.settings["way"] == way]
                )
            )
            for way in WAYS
            if any(one.cell.settings["way"] == way for one in made)
        },
        "removal": {
            name: {
                "excess": estimate(made, of(name, "excess", "removal")),
                "beyond": estimate(made, of(name, "beyond", "removal")),
                "lead": difference(
                    made,
                    of(DEFAULT_METHOD, "excess", "removal"),
                    of(name, "excess", "removal"),
                ),
            }
            for name in REMOVED
            if any(name in one.found.get("removal", {}) for one in made)
        },
    }


def chosen(made: Sequence[Made]) -> dict[str, Any]:
    """Defaults: what leads where they are chosen, and what it is worth elsewhere."""
    if {side_of(one.task) for one in made} != {"choosing", "reported"}:
        return {}
    found = choice.choose(made)
    settings = choice.choose_setting(made, factors.OURS)
    choosing, reported = choice.split(made)
    return {
        "tasks": {
            "choosing": sorted({one.task for one in choosing}),
            "reported": sorted({one.task for one in reported}),
        },
        "ranked": [[name, value, found.judged[name]] for name, value in found.ranked],
        "anywhere": found.anywhere,
        "along": found.along,
        "oracle": found.judged[ORACLE],
        "against": found.against,
        "leads": {
            rival: difference(reported, of(found.anywhere, "lds"), of(rival, "lds"))
            for rival in choice.RIVALS
        },
        "leads_default": difference(reported, of(found.anywhere, "lds"), of(DEFAULT_METHOD, "lds")),
        "settings": [
            [one._asdict() | {"usual": one == factors.OURS}, a, b] for one, a, b in settings
        ],
    }


def retrieval(made: Sequence[Made]) -> dict[str, Any]:
    """Attribution or retrieval: class match and truth, of the tuned model and of the base model."""
    if not made:
        return {}
    found: dict[str, Any] = {"base": {}, "twins": {}}
    for name in methods_of(made, "base"):
        found["base"][name] = {
            metric: {
                "tuned": estimate(made, of(name, metric)),
                "base": estimate(made, of(name, metric, "base")),
                "gain": difference(made, of(name, metric), of(name, metric, "base")),
            }
            for metric in ("ap", "lds")
        }
    twins = [one for one in made if one.task == "twins"]
    for name in [name for name in SHOWN if name in methods_of(twins)]:
        found["twins"][name] = {
            "ap": estimate(twins, of(name, "ap")),
            "lds": estimate(twins, of(name, "lds")),
        }
    names = [name for name in methods_of(made) if name not in (ORACLE, CHANCE)]
    ap = [estimate(made, of(name, "ap"), resamples=0).value for name in names]
    lds = [estimate(made, of(name, "lds"), resamples=0).value for name in names]
    found["agreement"] = float(spearmanr(np.round(ap, 6), np.round(lds, 6)).statistic)
    return found


def ablation(made: Sequence[Made]) -> dict[str, Any]:
    """How much every choice accounts for, and the mean at each of its levels."""
    here = [one for one in made if "ablation" in one.found]
    if not here:
        return {}
    found: dict[str, Any] = {"cells": len(here)}
    for metric in ("lds", "ap"):
        by_cell = factors.shares_by_cell(here, metric)
        ends = {
            "paper": factors.mean_of(here, metric, factors.PAPER),
            "ours": factors.mean_of(here, metric, factors.OURS),
        }
        found[metric] = {
            "shares": {name: _over_tasks(here, values) for name, values in by_cell.items()},
            "ends": ends,
            "levels": {
                name: {level: _over_tasks(here, list(v)) for level, v in by_level.items()}
                for name, by_level in factors.levels(here, metric).items()
            },
            "best": [factors.best(here, metric)[0]._asdict(), factors.best(here, metric)[1]],
        }
    return found


def masks(made: Sequence[Made]) -> dict[str, Any]:
    """The default under every mask, by what the model was trained on."""
    found = {}
    for name in TRAINED_ON:
        here = [one for one in made if one.cell.name.endswith(f"-{name}")]
        if here:
            found[name] = {
                "ceiling": float(np.mean([one.found["about"]["ceiling"] for one in here])),
                "lds": {
                    mask: factors.mean_of(here, "lds", factors.OURS._replace(mask=mask))
                    for mask in MASKS
                },
            }
    return found


def large(made: Sequence[Made]) -> dict[str, Any]:
    """The embedded model against retraining, and what each method costs on it."""
    return {
        one.cell.name: {
            "task": one.task,
            "rows": one.found["about"]["rows"],
            "queries": one.found["about"]["queries"],
            "loss": one.found["about"]["loss"],
            "behaviour": one.found["about"]["behaviour"],
            "ceiling": one.found["about"]["ceiling"],
            "methods": {
                name: {
                    "lds": estimate([one], of(name, "lds")),
                    "ap": estimate([one], of(name, "ap")),
                    "lead": difference([one], of(DEFAULT_METHOD, "lds"), of(name, "lds")),
                    "cost": one.found["methods"][name].get("passes"),
                    "scoring": one.found["methods"][name].get("scoring"),
                }
                for name in methods_of([one])
            },
            "shares": {metric: factors.shares_by_cell([one], metric) for metric in ("lds", "ap")},
            "ends": {
                metric: {
                    "paper": factors.mean_of([one], metric, factors.PAPER),
                    "ours": factors.mean_of([one], metric, factors.OURS),
                }
                for metric in ("lds", "ap")
            },
        }
        for one in made
    }


def ladder(made: Sequence[Made]) -> list[dict[str, Any]]:
    """Methods against retraining by size of the model."""
    found = []
    for size in LADDER:
        here = [one for one in made if tuple(one.cell.settings["model"]) == size]
        if here:
            found.append(
                {
                    "size": f"{size[0]}x{size[1]}",
                    "parameters": float(np.mean([o.found["about"]["parameters"] for o in here])),
                    "tasks": [one.task for one in here],
                    "loss": [one.found["about"]["loss"] for one in here],
                    **_scaled(here),
                }
            )
    return found


def adapters(made: Sequence[Made]) -> dict[str, Any]:
    """Methods against retraining by what is fine-tuned: all weights, or LoRA of a rank."""
    found = {}
    for name in ADAPTERS:
        here = [one for one in made if one.cell.name.endswith(name)]
        if here:
            found[name] = _scaled(here)
    return found


def mechanisms(made: Sequence[Made]) -> dict[str, Any]:
    """The paper's three reasons, one line a size of model."""
    curved = [one for one in made if one.cell.name.startswith("curvature-")]
    found: dict[str, Any] = {"curvature": [], "three": [], "steps": []}
    for size in dict.fromkeys(tuple(one.cell.settings["size"]) for one in curved):
        for rank in (1, 4):
            here = [
                one
                for one in curved
                if tuple(one.cell.settings["size"]) == size and one.cell.settings["rank"] == rank
            ]
            if not here:
                continue
            abouts = [one.found["about"] for one in here]
            found["curvature"].append(
                {
                    "size": f"{size[0]}x{size[1]}",
                    "rank": rank,
                    "seeds": len(here),
                    "parameters": abouts[0]["parameters"],
                    **{
                        rule: {
                            "spearman": _mean_of(abouts, rule, "agreement", "plain", "spearman"),
                            "above": _mean_of(abouts, rule, "blocks", "query_energy"),
                            "dimension": _mean_of(abouts, rule, "blocks", "effective_dimension"),
                        }
                        for rule in ("nonzero", "mean")
                    },
                }
            )
            for about in abouts:
                exact = about.get("three", {}).get("nonzero, block")
                if exact:
                    found["three"].append(
                        {"size": f"{size[0]}x{size[1]}", "spearman": exact["spearman"]}
                    )
    for one in made:
        if not one.cell.name.startswith("steps-"):
            continue
        held = one.found["checks"]
        line = {
            "size": one.cell.settings["size"],
            "way": one.cell.settings["way"],
            "parameters": one.found["about"]["parameters"],
            "norm": held["behaviour"]["relations"]["norm_growth"],
            "behaviour": held["behaviour"]["behaviour"],
            "kl": held["behaviour"]["relations"]["kl"]["spearman"],
            "log_probability": held["behaviour"]["log_probability"],
        }
        if "convergence" in held:
            lead = held["convergence"]["methods"][TRACED]
            half = int(
                np.argmin(
                    np.abs(
                        np.array(held["convergence"]["steps"]) / held["convergence"]["steps"][-1]
                        - 0.5
                    )
                )
            )
            line["half"] = lead["overlap"][half]
            line["seeds"] = float(np.mean(held["seeds"]["overlap"]))
            line["gradient"] = held["convergence"]["coherence"][-1]
            line["unrelated"] = held["convergence"]["unrelated_coherence"]
        found["steps"].append(line)
    return found


def class_tables(made: Sequence[Made]) -> dict[str, Any]:
    """Class match on the embedded model, by task and recipe, beside what the paper reports."""
    found: dict[str, Any] = {}
    for task in dict.fromkeys(one.task for one in made):
        for recipe in ("sound-1", "paper-1"):
            here = [
                one for one in made if one.task == task and one.cell.settings["recipe"] == recipe
            ]
            if not here:
                continue
            lines = {
                name: {
                    metric: estimate(here, of(name, metric))
                    for metric in ("accuracy", "coverage", "ap")
                }
                for name in methods_of(here)
            }
            reaching = [
                name
                for name, line in lines.items()
                if all(line[metric].value >= least for metric, least in REACHED.items())
            ]
            base = {
                name: {
                    metric: estimate(here, of(name, metric, "base"))
                    for metric in ("accuracy", "coverage", "ap")
                }
                for name in methods_of(here, "base")
            }
            found.setdefault(task, {})[recipe] = {
                "seeds": len(here),
                "rows": here[0].found["about"]["rows"],
                "queries": here[0].found["about"]["queries"],
                "classes": here[0].found["about"]["classes"],
                "behaviour": _behaviour(here),
                "methods": lines,
                "reaching": reaching,
                "base": base,
                "paper": PAPER_NUMBERS.get(task.removeprefix("paper:"), {}),
            }
    return found


def family_of(name: str) -> str:
    """The family that figures colour a method by."""
    return "class" if name == ORACLE else str(parse_method(name).family)


def _scaled(made: Sequence[Made]) -> dict[str, Any]:
    return {
        "ceiling": float(np.mean([one.found["about"]["ceiling"] for one in made])),
        "methods": {
            name: estimate(made, of(name, "lds")) for name in SCALED if name in methods_of(made)
        },
    }


def _by(made: Sequence[Made], name: str, key: Callable[[Made], str]) -> dict[str, float]:
    groups: dict[str, list[Made]] = {}
    for one in made:
        groups.setdefault(key(one), []).append(one)
    return {
        group: estimate(here, of(name, "lds"), resamples=0).value for group, here in groups.items()
    }


def _over_tasks(made: Sequence[Made], values: Sequence[float]) -> Estimate:
    by_name = {one.cell.id: value for one, value in zip(made, values, strict=True)}
    return estimate(made, lambda one: np.array([by_name[one.cell.id]]))


def _mean(values: np.ndarray | None) -> float:
    return float("nan") if values is None else float(np.nanmean(values))


def _mean_of(abouts: Sequence[dict[str, Any]], *path: str) -> float:
    found = []
    for about in abouts:
        value: Any = about
        for key in path:
            value = value[key]
        found.append(float(value))
    return float(np.mean(found))


def _behaviour(made: Sequence[Made]) -> dict[str, float]:
    keys = made[0].found["about"]["behaviour"]
    return {
        key: float(np.mean([one.found["about"]["behaviour"][key] for one in made])) for key in keys
    }
