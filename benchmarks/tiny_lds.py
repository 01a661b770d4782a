"""LDS of every method on a model small enough to retrain in a second, and how exact unrolling fares.

Makes a two-layer llama that has read the texts of a task with its answers shuffled, fine-tunes LoRA on
other rows of the task through the ordinary pipeline, scores every method, and holds the scores against
retraining:

- random subsets that keep a half, several seeds: LDS of every method, noise ceiling, and of a ridge
  datamodel fitted on other retrainings;
- one seed and order: subsets that leave out 1, 5, 10 and 50 % of the rows;
- removals, tail-patch, brittleness, single rows.

Everything is kept in --out, and what is there is not done again.

    OMP_NUM_THREADS=1 python benchmarks/tiny_lds.py --out DIR [--optimizer sgd --learning-rate 0.2]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from small_model import make_base, shuffled_texts

from wherefrom.cli._options import Format
from wherefrom.cli._print import print_findings
from wherefrom.counterfactual import retrain_on_subsets
from wherefrom.metrics import Retrainings, lds_frame, noise_ceiling, ridge_datamodel
from wherefrom.run import CounterfactualPlan, ask, counterfactual, execute, make_config
from wherefrom.tasks import TaskSize

REPLAYED = ("unrolled", "in_run_shapley", "in_run_shapley(order=1)")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="emotion")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--subsets", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--methods", default="all")
    parser.add_argument("--optimizer", default="adamw")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--batch-size", type=int, default=20)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--parts", default="leave-out,tail-patch,brittleness,leave-one-out")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    out = chosen.out or Path(tempfile.mkdtemp())
    base = out / "base"
    if not (base / "config.json").is_file():
        size = TaskSize(60 if chosen.task == "emotion" else None, 4)
        loss = make_base(base, shuffled_texts(chosen.task, size), epochs=6)
        print(f"base: has read the task's texts with shuffled answers, loss {loss:.2f}")
    methods = [] if chosen.methods == "none" else chosen.methods.split(",")
    config = make_config(
        "tiny LDS",
        model=str(base),
        task=chosen.task,
        train_per_class=chosen.per_class,
        queries_per_class=chosen.queries,
        recipe="sound-1",
        methods=[*methods, *REPLAYED],
        finetune={
            "rank": 4,
            "alpha": 16.0,
            "dropout": chosen.dropout,
            "targets": ["all-linear"],
            "epochs": chosen.epochs,
            "batch_size": chosen.batch_size,
            "optimizer": chosen.optimizer,
            "learning_rate": chosen.learning_rate,
            "precision": "float32",
        },
    )
    done = execute(out / "run", config)
    about = done.run.card.entries["fine-tune"]
    print(f"fine-tune: loss {about['loss first']} → {about['loss last']}, {about['steps']} steps")

    several = CounterfactualPlan(seeds=chosen.seeds, queries=None)
    asked, scores = ask(done.run, several)
    halves = retrain_on_subsets(asked, 2 * chosen.subsets, 0.5)
    judged = halves.take(np.arange(chosen.subsets))
    others = halves.take(np.arange(chosen.subsets, 2 * chosen.subsets))
    frame = lds_frame([*scores, ridge_datamodel(others)], judged)
    show(
        frame,
        f"{chosen.task}: {len(asked.train_ids)} rows, {len(asked.query_ids)} queries, "
        f"{chosen.subsets} halves, {chosen.seeds} seeds",
    )
    ceiling = noise_ceiling(judged)
    print(
        f"noise ceiling {ceiling.ceiling:.2f} [{ceiling.low:.2f}–{ceiling.high:.2f}]; two halves of the "
        f"seeds agree at {ceiling.agreement:.2f}"
    )
    alone = Retrainings(judged.kept, judged.outcomes[:1], judged.query_ids, judged.train_ids)
    show(lds_frame(scores, alone), "the same halves, the run's own seed and order only")

    asked, scores = ask(done.run, CounterfactualPlan(seeds=1, queries=None))
    for share in (0.01, 0.05, 0.1):
        frame = lds_frame(scores, retrain_on_subsets(asked, 50, 1 - share))
        show(frame, f"{share:.0%} of the rows left out, one seed and order, 50 subsets")
    if chosen.parts != "none":
        parts = tuple(chosen.parts.split(","))
        plan = CounterfactualPlan(parts=parts, k=("1%", "5%", "10%"), methods=None, queries=None)
        print_findings(counterfactual(done.run, plan), Format.md)


def show(frame, title):
    table = Table("method", "LDS", "95 %", title=title, title_justify="left")
    for line in frame.sort_values("value", ascending=False).to_dict("records"):
        table.add_row(
            line["method"], f"{line['value']:.3f}", f"{line['low']:.2f} – {line['high']:.2f}"
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
