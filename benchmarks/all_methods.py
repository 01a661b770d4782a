"""Prints one Markdown table for each task of finished studies: every method, its metrics and its seconds.

wherefrom study backdoor harmful --methods all --out runs/a
python benchmarks/all_methods.py runs/a [runs/b …]
"""

import sys
from pathlib import Path

import pandas as pd

from wherefrom.methods import SHARED, parse_method
from wherefrom.run import Run

METRICS = ("accuracy", "coverage", "average_precision", "auroc")


def cell(line):
    value, low, high = (f"{100 * line[key]:.0f}" for key in ("value", "low", "high"))
    return f"{value} [{low}–{high}]"


def table(run):
    frame = pd.read_parquet(run.path / "evaluation.parquet")
    seconds = run.card.entries[f"scores {run.config.recipe}"]["seconds"]
    lines = {}
    for line in frame.to_dict("records"):
        lines.setdefault(line["method"], {})[line["metric"]] = line
    order = sorted(lines, key=lambda m: [-lines[m][k]["value"] for k in METRICS])
    shown = run.behaviour()
    before, after = (100 * shown[f"{moment} fine-tuning"] for moment in ("before", "after"))
    print(f"\n## {run.config.task}\n")
    print(
        f"{len(run.train)} rows, {len(run.queries)} queries, {len({r.label for r in run.train})} classes; "
        f"taught behaviour {before:.0f} % before, {after:.0f} % after. Scoring: {seconds[SHARED]:.1f} s "
        "that methods share, and what stands in the last column.\n"
    )
    print(
        "| method | class | accuracy | coverage | AP | AUROC | s |\n|---|---|---|---|---|---|---|"
    )
    for method in order:
        cells = [cell(lines[method][metric]) for metric in METRICS]
        cost = parse_method(method).cost
        print(f"| {method} | {cost} | {' | '.join(cells)} | {seconds[method]:.2f} |")


def main():
    for folder in map(Path, sys.argv[1:]):
        for path in sorted(folder.glob("*/evaluation.parquet")):
            table(Run.open(path.parent))


if __name__ == "__main__":
    main()
