"""Peak memory of indexing at n and 10 n rows: it must not grow with the rows.

Each line is a process of its own that indexes a small llama (LoRA on all layers) with one worker. What is
held of the rows themselves (tokens, ids) does grow; it is a few hundred bytes a row.

    python benchmarks/memory.py [--rows 300] [--policy exact,projected]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table


def prepare(folder, rows, policy, full):
    from small_model import make_base

    from wherefrom.data import write_snapshot
    from wherefrom.run import Run, make_config
    from wherefrom.tasks import TaskSize, build_task

    train = list(build_task("grammars", TaskSize(-(-rows // 10), 1)).train[:rows])
    base = folder / "base"
    make_base(base, [row.prompt for row in train[:50]], 1, width=256, layers=4)
    write_snapshot(train, folder / "train.jsonl")
    config = make_config(
        "the benchmark",
        model=str(base),
        data=str(folder / "train.jsonl"),
        methods=["gradient_dot", "repsim"],
        finetune={
            "epochs": 1,
            "batch_size": 64,
            "mode": "full" if full else "lora",
            **({} if full else {"targets": ["all-linear"]}),
        },
        index={"policy": policy, "workers": 1},
    )
    Run.create(folder / "run", config).finetune()


def peak_memory():
    # not ru_maxrss: a child begins with that of the process it was forked from
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def index(folder):
    from wherefrom.run import Run

    run = Run.open(folder / "run")
    run.index()
    held = sum(p.stat().st_size for p in (run.path / "signals").rglob("*") if p.is_file())
    print(json.dumps({"peak": peak_memory(), "disk": held}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--policy", default="exact,projected")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--index", type=Path)
    size = parser.parse_args()
    if size.prepare:
        prepare(size.prepare, size.rows, size.policy, size.full)
        return
    if size.index:
        index(size.index)
        return
    table = Table("policy", "rows", "disk MB", "peak MB", "growth", title="peak memory of indexing")
    for policy in size.policy.split(","):
        first = None
        for rows in (size.rows, 10 * size.rows):
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, __file__, "--rows", str(rows), "--policy", policy]
                command += ["--full"] if size.full else []
                for stage in ("--prepare", "--index"):
                    line = [*command, stage, folder]
                    done = subprocess.run(line, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout.strip().splitlines()[-1])
            first = first or found
            table.add_row(
                policy,
                f"{rows:,}",
                f"{found['disk'] / 1e6:,.0f}",
                f"{found['peak'] / 1e6:,.0f}",
                f"{found['peak'] / first['peak']:.2f}",
            )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
