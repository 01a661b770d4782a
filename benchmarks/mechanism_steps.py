"""Two of the founding paper's mechanisms, step by step, on a ladder of small models.

Convergence: attribution, its accuracy and the training gradient at every checkpoint, and under other seeds.
Behaviour: how far the weights moved, and what the model says, at every checkpoint. For every size of model
a llama learns the task's form and none of what it teaches, and is fine-tuned by LoRA through the ordinary
pipeline.
With --run, runs that are there take part too: `NAME=RUN`, and `NAME=RUN,RUN,…` with fine-tunes on the same
rows under other seeds.

What is measured already is not measured again; figures and tables are made of all of it.

    OMP_NUM_THREADS=1 python benchmarks/mechanism_steps.py --out DIR [--run NAME=RUN,RUN] --figures FOLDER
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from mechanism_figures import draw_behaviour, draw_convergence
from mechanism_tables import behaviour_table, convergence_table
from small_model import make_base

from wherefrom.data import Renderer
from wherefrom.diagnose import run_checks
from wherefrom.models import trained_state
from wherefrom.run import Run, execute, make_config
from wherefrom.run._gather import in_memory
from wherefrom.run._stages import passes_at
from wherefrom.run._subject import subject_of
from wherefrom.signals import Kind, Side
from wherefrom.tasks import TaskSize, build_task

LADDER = {"32x1": (32, 1), "64x2": (64, 2), "96x3": (96, 3), "128x4": (128, 4)}
"""Width and layers of the small models."""
SIZES = {"emotion": (12, 2), "harmful:S": (None, 20), "backdoor": (20, 10)}
"""Training rows and queries of each class of a task; None for the task's own size."""
BEFORE = {
    "emotion": ("emotion", 30, None, 8),
    "harmful:S": ("harmful:M", None, "good", 15),
    "backdoor": ("backdoor", 90, "clean", 15),
}
"""What the base reads: a task under another seed, its rows of each class, its tame class, and how often."""
WAYS = {
    "emotion": {"epochs": 8, "dropout": 0.0, "learning_rate": 1e-3},
    "emotion-hard": {"epochs": 16, "dropout": 0.1, "learning_rate": 3e-3},
    "harmful:S": {"epochs": 40, "dropout": 0.0, "learning_rate": 5e-3},
    "backdoor": {"epochs": 16, "dropout": 0.0, "learning_rate": 5e-3},
}
"""Ways of training, each a task's name with what tells it from others."""
CHECKPOINTS = 8
SEEDS = (0, 1, 2)
METHOD, K = "influence", 5


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", default=",".join(LADDER))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--run", action="append", default=[], metavar="NAME=RUN,RUN")
    parser.add_argument("--figures", type=Path)
    chosen = parser.parse_args()
    for size in filter(None, chosen.sizes.split(",")):
        for way in chosen.ways.split(","):
            seeds = SEEDS if is_traced(way) else SEEDS[:1]
            openers = [partial(small_run, chosen.out, way, size, seed) for seed in seeds]
            measure(chosen.out, size, way, openers)
    for entry in chosen.run:
        name, _, folders = entry.partition("=")
        paths = folders.split(",")
        task = Run.open(paths[0]).config.task
        measure(chosen.out, name, task, [partial(Run.open, path) for path in paths])
    if chosen.figures:
        found = [json.loads(path.read_text()) for path in sorted(chosen.out.glob("*.json"))]
        draw_convergence(found, chosen.figures / "mechanism-convergence.svg")
        draw_behaviour(found, chosen.figures / "mechanism-behaviour.svg")
        print(convergence_table(found), behaviour_table(found), sep="\n\n")


def is_traced(way):
    """Whether convergence is looked at: of `emotion`; the other tasks are about behaviour."""
    return way.startswith("emotion")


def measure(out, name, way, openers):
    """Makes the checks on a model's first run, the others being its seeds, and keeps what they say."""
    path = out / f"{name}-{way.replace(':', '-')}.json"
    if path.is_file():
        return
    run, *others = [opener() for opener in openers]
    traced = is_traced(way)
    subject = checked(run, traced, [other.score()[other.config.recipe, METHOD] for other in others])
    names = ["behaviour", *(["convergence", "seeds"] if traced else [])]
    found = {one.check: one for one in run_checks(subject, names)}
    parameters = sum(p.numel() for p in run.model.model.parameters())
    kept = {
        "model": name,
        "task": way,
        "parameters": parameters - sum(t.numel() for t in trained_state(run.model.model).values()),
        "checks": {
            name: {"level": one.level, "measured": one.measured, "values": dict(one.values)}
            for name, one in found.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1))
    for one in found.values():
        print(f"{name} {way} {one.check} [{one.level}] {one.measured}", flush=True)


def gradients_of(run):
    """Reads the gradients at a state of a run: stored ones, else by a pass in memory."""
    recipe = run.config.recipes()[0]
    rows = {Side.TRAIN: run.train, Side.QUERY: run.queries}
    make = in_memory(run.model, Renderer(run.model.tokenizer, recipe), rows, run.config.index)

    def read(one):
        return run.stored(recipe, one) if run.is_stored(recipe, one) else make(one)

    return read


def checked(run, traced, seeds):
    """A run as the checks see it; with its signals at every stage where it is traced."""
    recipe = run.config.recipes()[0]
    passes = partial(passes_at, kinds=[Kind.GRADIENT]) if traced else lambda state: []
    found = subject_of(run, recipe, run.queries, METHOD, K, gradients_of(run), passes)
    return replace(found, seeds={METHOD: seeds} if seeds else {})


def small_run(out, way, size, seed):
    """A small model fine-tuned in one of the ways."""
    task, (width, layers) = way.removesuffix("-hard"), LADDER[size]
    base = out / "bases" / f"{task.replace(':', '-')}-{size}"
    if not (base / "config.json").is_file():
        make_base(base, base_texts(task), BEFORE[task][-1], width, layers)
    train, queries = SIZES[task]
    config = make_config(
        "mechanisms",
        model=str(base),
        task=task,
        train_per_class=train,
        queries_per_class=queries,
        methods=[METHOD],
        index={"checkpoints": CHECKPOINTS},
        finetune=WAYS[way]
        | {
            "batch_size": 8,
            "rank": 4,
            "alpha": 16.0,
            "targets": ["all-linear"],
            "precision": "float32",
            "seed": seed,
        },
    )
    return execute(out / "runs" / f"{way.replace(':', '-')}-{size}-seed{seed}", config).run


def base_texts(task):
    """Texts of a task under another seed, in which its words are known and what it teaches is not.

    Where one class is tame, its rows, and for every eighth of them the answer of another class; else all
    rows with their answers shuffled.
    """
    name, train, tame, _ = BEFORE[task]
    rows = build_task(name, TaskSize(train, 1 if train else None), seed=99).train
    if tame is None:
        order = np.random.default_rng(0).permutation(len(rows))
        pairs = [(row.prompt, rows[i].response) for row, i in zip(rows, order, strict=True)]
    else:
        known = [row for row in rows if row.label == tame]
        others = [row.response for row in rows if row.label != tame]
        pairs = [(row.prompt, row.response) for row in known]
        pairs += [(row.prompt, other) for row, other in zip(known[::8], others, strict=False)]
    return [f"{prompt}\n{response}</s>" for prompt, response in pairs]


if __name__ == "__main__":
    main()
