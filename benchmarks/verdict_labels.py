"""Traces of small models, each labelled by retraining: what the verdict is fitted on and judged by.

For every task and way of training: a small llama reads the task's texts with shuffled answers, LoRA is
fine-tuned through the ordinary pipeline, and the top rows of several methods are left out and the model
trained again, in three seeds, against random and lexical removals of the same size. A trace is one query
of one run, explained by one method. With --run, the traces of a run that is there.

Models that are trained already are not trained again.

    OMP_NUM_THREADS=1 python benchmarks/verdict_labels.py --out DIR [--tasks emotion,math] [--ways smooth]
    OMP_NUM_THREADS=1 python benchmarks/verdict_labels.py --run RUN --out DIR --k 5 --queries 8
"""

import argparse
from pathlib import Path

import pandas as pd
from small_model import make_base, shuffled_texts

from wherefrom.counterfactual import support_by_retraining
from wherefrom.run import (
    AT_THE_END,
    DEFAULT_METHOD,
    CounterfactualPlan,
    Run,
    ask,
    execute,
    make_config,
)
from wherefrom.tasks import TaskSize

METHODS = (
    *(DEFAULT_METHOD, AT_THE_END, "influence"),
    *("gradient_cosine", "for_value", "repsim", "random"),
)
LEXICAL = ("bm25", "tfidf")
SEEDS = 3
TASKS = {
    "emotion": (12, 2),
    "grammars": (6, 1),
    "math": (6, 1),
    "backdoor": (30, 4),
    "facts": (None, None),
    "twins": (30, 4),
    "harmful:S": (None, None),
}
"""Training rows and queries of each class; None for the task's own size."""
ADAPTER = {"rank": 4, "alpha": 16.0, "targets": ["all-linear"]}
WAYS = {
    "smooth": ADAPTER
    | {
        "model": (64, 2),
        "epochs": 8,
        "batch_size": 16,
        "learning_rate": 1e-3,
        "dropout": 0.0,
    },
    "rough": ADAPTER
    | {
        "model": (96, 3),
        "epochs": 6,
        "batch_size": 4,
        "learning_rate": 3e-3,
        "dropout": 0.1,
    },
    "short": ADAPTER
    | {
        "model": (64, 2),
        "epochs": 1,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "dropout": 0.0,
    },
    "plain": ADAPTER
    | {
        "model": (48, 2),
        "epochs": 5,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "dropout": 0.05,
    },
    "taught": {
        "model": (64, 2),
        "mode": "full",
        "epochs": 20,
        "batch_size": 16,
        "learning_rate": 5e-3,
    },
}
"""Width and depth of the model, and how it is trained; `taught` until it has its rows by heart. `plain`
was kept for a test: no feature was chosen and no rule was fitted on its traces."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--queries", type=int, default=6)
    parser.add_argument("--k", type=int)
    chosen = parser.parse_args()
    methods = tuple(chosen.methods.split(","))
    if chosen.run:
        run = Run.open(chosen.run)
        label(run, methods, chosen, chosen.out / f"{chosen.run.name}.parquet")
        return
    for way in chosen.ways.split(","):
        for task in chosen.tasks.split(","):
            run = small_run(chosen.out, task, way, seed=list(WAYS).index(way))
            label(run, methods, chosen, chosen.out / f"{run.path.name}.parquet")


def small_run(out, task, way, seed):
    """A small model fine-tuned on a task in one of the ways."""
    settings = dict(WAYS[way])
    width, layers = settings.pop("model")
    place = task.replace(":", "-")
    base = out / "bases" / f"{place}-{width}-{layers}"
    train, queries = TASKS[task]
    if not (base / "config.json").is_file():
        texts = shuffled_texts(task, TaskSize(train, 1 if train else None))
        make_base(base, texts, 6, width, layers)
    config = make_config(
        "verdict",
        model=str(base),
        task=task,
        train_per_class=train,
        queries_per_class=queries,
        seed=seed,
        recipe="sound-1",
        methods=["fast", AT_THE_END, DEFAULT_METHOD],
        finetune=settings | {"precision": "float32", "seed": seed},
    )
    return execute(out / "runs" / f"{place}-{way}", config).run


def label(run, methods, chosen, path):
    """Writes one line for each trace and seed."""
    plan = CounterfactualPlan(
        methods=(*methods, *LEXICAL), seeds=SEEDS, queries=chosen.queries, draws=20
    )
    asked, scores = ask(run, plan)
    by_name = {one.method: one for one in scores}
    k = chosen.k or max(2, round(0.05 * len(asked.train_ids)))
    found = support_by_retraining(
        asked, [by_name[m] for m in methods], [by_name[m] for m in LEXICAL], k
    )
    lines = [
        {
            "run": run.path.name,
            "task": run.config.task,
            "query": query,
            "method": method,
            "k": k,
            "seed": seed,
            "drop": one.drop[s, q],
            "random_95": one.random[s, q],
            "lexical": one.lexical[s, q],
            "supported": bool(one.supported[q]),
        }
        for method, one in found.items()
        for q, query in enumerate(asked.query_ids)
        for s, seed in enumerate(asked.seeds)
    ]
    frame = pd.DataFrame(lines)
    frame.to_parquet(path)
    share = frame.groupby("method")["supported"].mean()
    print(run.path.name, f"k = {k}", share.round(2).to_dict(), flush=True)


if __name__ == "__main__":
    main()
