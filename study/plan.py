"""The plan: every cell of the study, in the order in which they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from study import along, classes, mechanisms, truth, verdicts
from study.cells import Cell
from wherefrom.run import AT_THE_END, DEFAULT_METHOD

Compute = Callable[[dict[str, Any], Path], dict[str, Any]]
SMALL = "builtin:smollm2-135m"

CHOOSING = {
    "emotion": (12, 2),
    "backdoor:3": (15, 2),
    "facts": (None, None),
    "filtering": (4, 8),
}
"""Tasks that defaults are chosen on, under the seeds 0 and 1: training rows and queries of each class, None
for the task's own."""
REPORTED = {
    "grammars": (6, 1),
    "math": (6, 1),
    "harmful:S": (None, None),
    "twins": (30, 4),
}
"""Tasks that the choice is judged on, under the seeds 2 and 3."""
SEEDS = {"choosing": (0, 1), "reported": (2, 3)}

METHODS = (
    *("all", "relative_influence(curvature=true)", "influence(curvature=true, layers=mlp)"),
    *("influence(checkpoints=rate)", "influence(curvature=true, checkpoints=rate)"),
    *("influence_along(damping=1)", "influence_along(damping=10)"),
    *("influence(curvature=true, checkpoints=mean)", "ekfac(checkpoints=rate)", "ekfac(damping=1)"),
    *("gradient_cosine(checkpoints=rate)", "influence(checkpoints=base)"),
    *("influence(curvature=true, checkpoints=base)", "ekfac(checkpoints=base)"),
)
"""Every method, and combinations of what led on the first three runs of the half that is chosen on; before
the first step, the same as at the end."""

FEW = ("fast", AT_THE_END, DEFAULT_METHOD, "tracin")
"""What one forward and one backward pass serve, and what leads, at the end and along the run."""

REMOVED = (
    *(DEFAULT_METHOD, AT_THE_END, "influence"),
    *("gradient_dot", "gradient_cosine", "tracin", "for_value"),
    *("repsim", "repsim(position=mean_response)", "bm25", "random"),
)
"""Methods whose top rows are left out: each costs a retraining a query and seed."""

ALONG = ("ekfac", "influence(curvature=true)", "influence", "gradient_dot", "gradient_cosine")
"""Methods that are followed along the run."""

ON_ATTENTION = tuple(spec for spec in METHODS if "mlp" not in spec)
"""Those for adapters on q and v alone, as the founding paper has them."""

WAYS: dict[str, dict[str, Any]] = {
    "smooth": {
        "model": [64, 2],
        "finetune": {"epochs": 8, "batch_size": 16, "learning_rate": 1e-3, "dropout": 0.0},
    },
    "rough": {
        "model": [96, 3],
        "finetune": {"epochs": 6, "batch_size": 4, "learning_rate": 3e-3, "dropout": 0.1},
    },
    "taught": {
        "model": [64, 2],
        "finetune": {"mode": "full", "epochs": 20, "batch_size": 16, "learning_rate": 5e-3},
    },
}
"""Width and depth of the small model, and how it is fine-tuned: in small steps, in large noisy ones, or
all its weights until it has its rows by heart. The first two end long before that."""

LARGE_WAYS: dict[str, dict[str, Any]] = {
    "brief": {
        "subsets": 24,
        "finetune": {"epochs": 4, "learning_rate": 1e-3, "batch_size": 8},
    },
    "taught": {
        "subsets": 20,
        "finetune": {"epochs": 10, "learning_rate": 2e-3, "batch_size": 4},
    },
}
"""How the embedded model is fine-tuned: hardly, or until it has its rows by heart, as the demo does."""
EMBEDDED = tuple(f"embedded-{way}" for way in LARGE_WAYS)
"""Ways of training of cells on the embedded model."""

LADDER = ((48, 2), (96, 3), (160, 4), (256, 6), (384, 8), (512, 11))
"""Width and depth of the models of the ladder, 0.1M to 30M parameters."""

CURVED = ((32, 2), (64, 2), (96, 3), (128, 4))
STEPPED = ("32x1", "64x2", "96x3", "128x4")
"""Models that the mechanisms are measured on: curvature, and step by step."""

TRAINED_ON = {"all": "sound-1(mask=prompt+response)", "pads": "paper-1"}
"""What the loss of training counts on beside the response, in cells about the mask."""

ADAPTERS: dict[str, dict[str, Any]] = {
    "full": {"mode": "full", "learning_rate": 3e-4},
    "lora-1": {"rank": 1, "alpha": 4.0},
    "lora-4": {"rank": 4, "alpha": 16.0},
    "lora-16": {"rank": 16, "alpha": 64.0},
}

CLASS_TASKS: dict[str, tuple[int | None, int | None]] = {
    "grammars": (5, 2),
    "emotion": (8, 4),
    "math": (5, 2),
    "backdoor": (20, 8),
    "backdoor:3": (12, 5),
    "backdoor:5": (8, 4),
    "harmful:S": (None, 20),
    "harmful:M": (24, 20),
    "harmful:L": (24, 20),
}
PAPER_TASKS: dict[str, tuple[int, int]] = {
    "paper:grammars": (5, 2),
    "paper:math": (5, 2),
    "paper:emotion": (8, 4),
}
"""Sets of the founding paper, made where `WHEREFROM_PAPER_DATA` names a folder that holds them."""


def cells(quick: bool = False) -> list[Cell]:
    """All cells; of the quick study, a few small ones of every part."""
    if quick:
        return [
            *_grid(True),
            *_along(True),
            *_verdicts(True),
            *_masks(True),
            *_ladder(True),
            *_adapters(True),
            *_mechanisms(True),
            *_classes(True),
        ]
    return [
        *_grid(),
        *_along(),
        *_verdicts(),
        *_masks(),
        *_ladder(),
        *_adapters(),
        *_mechanisms(),
        *_large(),
        *_classes(),
    ]


def side_of(task: str) -> str:
    """Whether defaults are chosen on a task or reported on it."""
    return "choosing" if task in CHOOSING else "reported"


def _grid(quick: bool = False) -> list[Cell]:
    found = []
    for turn in (0, 1):
        for way in WAYS:
            for task, size in (CHOOSING | REPORTED).items():
                seed = SEEDS[side_of(task)][turn]
                more: dict[str, Any] = {"ablation": True}
                # a removal costs a fine-tune, and those are long
                more["removal"] = (
                    None if way == "taught" else {"share": 0.05, "methods": list(REMOVED)}
                )
                found.append(
                    _truth("grid", f"{_short(task)}-{way}-{seed}", task, size, seed, way, more)
                )
    if quick:
        few = {"subsets": 8, "asked": 4, "removal": None, "methods": list(FEW)}
        chosen = [one for one in found if one.name in ("emotion-smooth-0", "grammars-smooth-2")]
        return _smaller(chosen, few)
    return found


def _along(quick: bool = False) -> list[Cell]:
    # in small steps all states are alike
    over = [one for one in _first(quick) if quick or one.settings["way"] != "smooth"]
    return [_seen("along", one, ALONG, along.compute) for one in over]


def _verdicts(quick: bool = False) -> list[Cell]:
    return [_seen("verdicts", one, [DEFAULT_METHOD], verdicts.compute) for one in _first(quick)]


def _first(quick: bool) -> list[Cell]:
    """Runs of the grid under their first seeds, and those of the embedded model."""
    if quick:
        return _grid(True)[:1]
    return [*(one for one in _grid() if one.settings["seed"] in (0, 2)), *_large()]


def _seen(part: str, one: Cell, methods: Sequence[str], compute: Compute) -> Cell:
    more = {"run": one.id, "methods": list(methods), "removal": None, "ablation": False}
    name = one.name if one.part == "grid" else f"{one.part}-{one.name}"
    return Cell(part, name, one.settings | more, compute)


def _masks(quick: bool = False) -> list[Cell]:
    found = []
    for task in ("emotion", "backdoor:3", "grammars", "math"):
        for name, recipe in TRAINED_ON.items():
            more = {"recipe": recipe, "methods": ["fast"], "removal": None, "ablation": True}
            size = (CHOOSING | REPORTED)[task]
            found.append(_truth("masks", f"{_short(task)}-{name}", task, size, 6, "smooth", more))
    if quick:
        few = {"subsets": 8, "asked": 4}
        return _smaller(found[:1], few)
    return found


def _ladder(quick: bool = False) -> list[Cell]:
    found = []
    for width, layers in LADDER:
        for task in ("emotion", "backdoor:3"):
            more = {"model": [width, layers], "subsets": 24, "removal": None, "methods": list(FEW)}
            size = CHOOSING[task]
            name = f"{_short(task)}-{width}x{layers}"
            found.append(_truth("ladder", name, task, size, 4, "smooth", more))
    if quick:
        few = {"subsets": 8, "asked": 4}
        return _smaller(found[:3:2], few)
    return found


def _adapters(quick: bool = False) -> list[Cell]:
    found = []
    for task in ("emotion", "grammars"):
        for name, tuning in ADAPTERS.items():
            size = (CHOOSING | REPORTED)[task]
            more = {"removal": None, "methods": list(FEW), "finetune": tuning}
            found.append(_truth("adapters", f"{_short(task)}-{name}", task, size, 5, "rough", more))
    if quick:
        few = {"subsets": 8, "asked": 4}
        return _smaller(found[:2], few)
    return found


def _mechanisms(quick: bool = False) -> list[Cell]:
    found = []
    for size in CURVED[:1] if quick else CURVED:
        for rank in (1,) if quick else (1, 4):
            for seed in (0,) if quick else (0, 1, 2):
                settings = {
                    "task": "emotion",
                    "size": list(size),
                    "rank": rank,
                    "seed": seed,
                    "exact": seed == 0 and rank == 1 and size[0] < 128,
                }
                name = f"curvature-{size[0]}x{size[1]}-r{rank}-{seed}"
                found.append(Cell("mechanisms", name, settings, mechanisms.curvature))
    for size_name in STEPPED[:1] if quick else STEPPED:
        for way in ("emotion", "emotion-hard", "harmful:S", "backdoor"):
            if quick and way != "emotion":
                continue
            settings = {"task": way.removesuffix("-hard"), "size": size_name, "way": way}
            name = f"steps-{size_name}-{_short(way)}"
            found.append(Cell("mechanisms", name, settings, mechanisms.steps))
    return found


def _large() -> list[Cell]:
    found = []
    for task, way in (("grammars", "brief"), ("grammars", "taught"), ("emotion", "taught")):
        train, queries = {"grammars": (5, 1), "emotion": (8, 2)}[task]
        seed = SEEDS[side_of(task)][0]
        settings = {
            "task": task,
            "train": train,
            "queries": queries,
            "asked": 10,
            "seed": seed,
            "way": f"embedded-{way}",
            "model": SMALL,
            "methods": list(ON_ATTENTION),
            "seeds": 2,
            "removal": None,
            "ablation": True,
            **LARGE_WAYS[way],
        }
        found.append(Cell("large", f"{task}-{way}-{seed}", settings, truth.compute))
    return found


def _classes(quick: bool = False) -> list[Cell]:
    tasks = CLASS_TASKS | PAPER_TASKS
    found = []
    for seed in (0, 1, 2):
        for task, size in tasks.items():
            for recipe in ("sound-1", "paper-1"):
                settings = {
                    "task": task,
                    "train": size[0],
                    "queries": size[1],
                    "seed": seed,
                    "recipe": recipe,
                    "model": SMALL,
                    "finetune": {"epochs": 6, "learning_rate": 1e-3, "batch_size": 8},
                    "methods": list(ON_ATTENTION),
                    # its drawn weights cost as much as all the rest, and the grid has it
                    "without": ["bayesian"],
                    "base": recipe == "sound-1",
                }
                name = f"{_short(task)}-{recipe}-{seed}"
                found.append(Cell("classes", name, settings, classes.compute))
    if quick:
        few = {"train": 2, "queries": 1, "methods": list(FEW), "base": False}
        names = ("emotion-sound-1-0", "emotion-paper-1-0")
        return _smaller([one for one in found if one.name in names], few)
    return found


def _smaller(whole: list[Cell], few: dict[str, Any]) -> list[Cell]:
    return [replace(one, settings=one.settings | few) for one in whole]


def _truth(
    part: str,
    name: str,
    task: str,
    size: tuple[int | None, int | None],
    seed: int,
    way: str,
    more: dict[str, Any],
) -> Cell:
    tuning = {"rank": 4, "alpha": 16.0, "targets": ["all-linear"], "precision": "float32"}
    given = dict(more)
    own = tuning | WAYS[way]["finetune"] | given.pop("finetune", {})
    if own.get("mode") == "full":
        own = {k: v for k, v in own.items() if k not in ("rank", "alpha", "targets", "dropout")}
    settings = {
        "task": task,
        "train": size[0],
        "queries": size[1],
        "asked": 8,
        "seed": seed,
        "way": way,
        "model": WAYS[way]["model"],
        "finetune": own,
        "methods": list(METHODS),
        "subsets": 32,
        "seeds": 2,
        "removal": None,
        "ablation": False,
    }
    return Cell(part, name, settings | given, truth.compute)


def _short(task: str) -> str:
    return task.replace(":", "-")
