"""Is the predicted change of log-probability without a row what retraining without it gives?

A small llama is fine-tuned on rows of a task, gently to hard; then once more without each row (the truth),
and on random halves (which set the scale).

    python benchmarks/removal.py [--task emotion] [--rows 40] [--seeds 2] [--halves 24]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from small_model import make_base

from wherefrom.answers import calibrate, removal, with_calibration
from wherefrom.counterfactual import retrain_on_subsets
from wherefrom.data import write_snapshot
from wherefrom.run import CounterfactualPlan, Run, ask, make_config
from wherefrom.tasks import TaskSize, build_task

METHODS = ("influence", "influence(damping=0.1)", "influence(curvature=true)", "datainf")
RUNS = {"gentle": (3, 1e-3), "usual": (6, 3e-3), "hard": (20, 5e-3)}


def measure(run, name, seeds, halves):
    plan = CounterfactualPlan(outcome="log_probability", seeds=seeds, methods=METHODS)
    asked, scores = ask(run, plan)
    n = len(run.train)
    full = asked.full()
    without = asked.outcomes(~np.eye(n, dtype=bool), "each row")
    real = (without - full[:, None]).mean(0).T
    found = retrain_on_subsets(asked, halves, 0.5)
    for one in scores:
        plain = removal(one)
        known = calibrate(one, found)
        scaled = removal(with_calibration(one, known))
        top = np.argsort(plain, 1)[:, :3]
        picked = [np.take_along_axis(x, top, 1).mean() for x in (plain, scaled, real)]
        order = np.nanmean([spearmanr(a, b)[0] for a, b in zip(plain, real, strict=True)])
        numbers = " | ".join(f"{x:+.4f}" for x in picked)
        scale = f"{known.factor:.3f} [{known.low:.3f}–{known.high:.3f}]"
        print(f"| {name} | `{one.method}` | {order:.2f} | {numbers} | {scale} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", default="emotion")
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--queries", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--halves", type=int, default=24)
    parser.add_argument("--only", choices=[*RUNS])
    chosen = parser.parse_args()
    classes = len(build_task(chosen.task, TaskSize(1, 1)).labels)
    size = TaskSize(-(-chosen.rows // classes), -(-chosen.queries // classes))
    task = build_task(chosen.task, size)
    columns = ("run", "method", "Spearman", "predicted", "scaled", "retrained", "scale [95 %]")
    print("| " + " | ".join(columns) + " |\n" + "|---" * len(columns) + "|")
    with tempfile.TemporaryDirectory(prefix="removal-") as held:
        folder = Path(held)
        texts = [
            f"{row.prompt} {row.response}" for row in build_task(chosen.task, TaskSize(60, 1)).train
        ]
        make_base(folder / "base", texts, epochs=8)
        write_snapshot(task.train[: chosen.rows], folder / "rows.jsonl")
        write_snapshot(task.queries[: chosen.queries], folder / "asked.jsonl")
        for name, (epochs, rate) in RUNS.items():
            if chosen.only not in (None, name):
                continue
            config = make_config(
                "removal",
                model=str(folder / "base"),
                data=str(folder / "rows.jsonl"),
                queries=str(folder / "asked.jsonl"),
                finetune={"epochs": epochs, "learning_rate": rate, "dropout": 0.0},
                methods=METHODS,
            )
            run = Run.create(folder / name, config)
            run.finetune()
            run.index()
            measure(run, name, chosen.seeds, chosen.halves)


if __name__ == "__main__":
    main()
