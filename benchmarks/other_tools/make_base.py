"""The base model of docs/results/other-tools.md: two layers, taught the language of a task.

Its texts are rows of the same task and of another seed, none of them a row of the run.

    PYTHONPATH=benchmarks python benchmarks/other_tools/make_base.py OUT [--task emotion]
"""

import argparse
from pathlib import Path

from small_model import make_base

from wherefrom.tasks import TaskSize, build_task


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--task", default="emotion")
    chosen = parser.parse_args()
    task = build_task(chosen.task, TaskSize(30, 10), seed=99)
    texts = [f"{row.prompt}\n{row.response}" for row in task.train]
    print(f"{len(texts)} texts, loss {make_base(chosen.out, texts, epochs=4):.2f}")


if __name__ == "__main__":
    main()
