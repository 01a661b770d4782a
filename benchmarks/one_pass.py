"""All methods of cost class "one pass" together, against the pass alone.

The pass alone captures loss gradients of the grammars task on the embedded model, rows and queries. The
other side captures everything that methods of that class need, and scores all of them. CPU seconds are
compared, since wall time on a shared machine says little; both are printed.

    python benchmarks/one_pass.py [--per-class 20] [--queries 4] [--out DIR]
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from wherefrom.methods import SHARED, score_all, select_methods
from wherefrom.run import Run, make_config


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    found = action()
    return found, time.perf_counter() - wall, time.process_time() - cpu


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--queries", type=int, default=4)
    parser.add_argument("--out", type=Path)
    size = parser.parse_args()
    out = size.out or Path(tempfile.mkdtemp())
    methods = [m for m in select_methods(["all"]) if m.cost == "one pass"]
    config = make_config(
        "the benchmark",
        task="grammars",
        train_per_class=size.per_class,
        queries_per_class=size.queries,
        methods=[m.spec for m in methods],
        finetune={"epochs": 1, "learning_rate": 1e-3},
    )
    run = Run.create(out / "run", config)
    run.finetune()
    _ = run.model
    run.references()
    alone = Run(run.path, config.model_copy(update={"methods": ("gradient_dot",)}))
    alone.model = run.model
    shutil.rmtree(run.path / "signals", ignore_errors=True)
    _, wall_alone, cpu_alone = timed(alone.index)
    shutil.rmtree(run.path / "signals")
    _, wall_all, cpu_all = timed(run.index)
    recipe = config.recipes()[0]
    scored, wall_scored, cpu_scored = timed(
        lambda: score_all(run.methods(), run.evidence(recipe, run.methods()))
    )

    n, q = len(run.train), len(run.queries)
    table = Table("", "wall s", "CPU s", "ratio (CPU)", title=f"{n} rows, {q} queries")
    table.add_row("pass alone: loss gradients", f"{wall_alone:.0f}", f"{cpu_alone:.0f}", "1.00")
    table.add_row(
        "pass with every signal of the class",
        f"{wall_all:.0f}",
        f"{cpu_all:.0f}",
        f"{cpu_all / cpu_alone:.2f}",
    )
    table.add_row(
        f"scoring {len(run.methods())} methods",
        f"{wall_scored:.0f}",
        f"{cpu_scored:.0f}",
        f"{cpu_scored / cpu_alone:.2f}",
    )
    total = cpu_all + cpu_scored
    table.add_row(
        "together", f"{wall_all + wall_scored:.0f}", f"{total:.0f}", f"{total / cpu_alone:.2f}"
    )
    Console(width=100).print(table)
    for name, seconds in sorted(scored.seconds.items(), key=lambda pair: -pair[1]):
        if seconds > 0.02 * wall_scored:
            print(f"{seconds:7.1f} s  {'shared' if name == SHARED else name}")


if __name__ == "__main__":
    main()
