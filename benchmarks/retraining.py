"""Many small retrainings: adapters trained together against one after another.

Trains models on random halves of the rows, in groups of different size, and prints seconds a model and
the ratio to one after another.

    python benchmarks/retraining.py [--model builtin:smollm2-135m --targets none] [--models 8]

Without --model, a two-layer llama made in a second.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from small_model import make_base

from wherefrom.counterfactual import Retrainer
from wherefrom.data import Renderer, get_recipe
from wherefrom.models import FinetuneSettings, load_tokenizer
from wherefrom.tasks import TaskSize, build_task


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--task", default="emotion")
    parser.add_argument("--per-class", type=int, default=12)
    parser.add_argument("--models", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--sizes", default="1,2,4,8,16,32")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--targets", default="all-linear")
    chosen = parser.parse_args()
    task = build_task(chosen.task, TaskSize(chosen.per_class, 2))
    spec = chosen.model
    if spec is None:
        spec = str(Path(tempfile.mkdtemp()) / "base")
        make_base(Path(spec), [f"{row.prompt}\n{row.response}" for row in task.train], epochs=1)
    renderer = Renderer(load_tokenizer(spec), get_recipe("sound-1"))
    rows, queries = renderer.render_all(task.train), renderer.render_all(task.queries)
    settings = FinetuneSettings(
        epochs=chosen.epochs,
        precision=chosen.precision,
        targets=None if chosen.targets == "none" else (chosen.targets,),
    )
    rng = np.random.default_rng(0)
    weights = np.zeros((chosen.models, len(rows)))
    for line in weights:
        line[rng.choice(len(rows), len(rows) // 2, replace=False)] = 1
    print(
        f"{spec}: {len(rows)} rows, {chosen.epochs} epochs, {chosen.models} models on halves, "
        f"{settings.resolved_precision()}, {torch.get_num_threads()} threads"
    )
    alone, first = None, None
    for size in map(int, chosen.sizes.split(",")):
        retrainer = Retrainer(spec, rows, queries, settings, together=size)
        retrainer.outcomes(weights[:size], 0)
        begun = time.perf_counter()
        found = [
            retrainer.outcomes(weights[start : start + size], 0)["log_probability"]
            for start in range(0, chosen.models, size)
        ]
        each = (time.perf_counter() - begun) / chosen.models
        outcomes = np.concatenate(found)
        alone, first = alone or each, outcomes if first is None else first
        speed = retrainer.tokens(weights, 0) / chosen.models / each
        gap = np.abs(outcomes - first).max()
        print(
            f"  {size:3} together: {each:8.3f} s a model, {alone / each:5.2f} x as fast, {speed:7.0f} "
            f"tokens/s, outcomes differ by {gap:.1e} nats"
        )


if __name__ == "__main__":
    main()
