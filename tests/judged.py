"""A tiny fine-tuned run with mislabelled rows, for tests of what judges scores."""

import numpy as np
import torch

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.counterfactual import write_retrainings
from wherefrom.data import Renderer
from wherefrom.metrics import Retrainings
from wherefrom.models import counted_losses, pad_rows
from wherefrom.run import execute, make_config

N, Q = 12, 4
METHODS = ("gradient_dot", "influence", "self_influence", "gradient_cosine", "repsim", "bm25")
WRONG = (2, 7, 9)


def write_rows(folder):
    """Training rows, some flagged as mislabelled, and queries."""
    rows = row_dicts(tiny_rows(N + Q))
    flagged = [row | {"mislabelled": index in WRONG} for index, row in enumerate(rows[:N])]
    write_jsonl(folder / "train.jsonl", flagged)
    write_jsonl(folder / "test.jsonl", rows[N:])
    return folder


def make_run(folder, model):
    """A run through every stage, with retrainings of three of its queries made up by hand."""
    data = write_rows(folder)
    config = make_config(
        "tests",
        model=str(model),
        data=str(data / "train.jsonl"),
        queries=str(data / "test.jsonl"),
        methods=METHODS,
        finetune={"epochs": 2, "rank": 2, "learning_rate": 0.05, "precision": "float32"},
    )
    run = execute(folder / "made", config).run
    write_retrainings(retrainings(run), run.path / "counterfactual/retrainings.safetensors", "x")
    return run


def retrainings(run, seeds=2):
    rng = np.random.default_rng(0)
    kept = rng.random((10, N)) < 0.5
    outcomes = kept @ rng.normal(size=(N, 3)) + rng.normal(size=(seeds, 10, 3))
    queries = tuple(row.id for row in run.queries[:3])
    return Retrainings(kept, outcomes, queries, tuple(row.id for row in run.train))


def gradients(loaded, recipe, rows):
    """Per-row autograd: rows × entries in float64, for each trained weight."""
    tokens = Renderer(loaded.tokenizer, recipe).render_all(rows)
    wanted = [p for p in loaded.model.parameters() if p.requires_grad]
    found = []
    for row in tokens:
        losses = counted_losses(loaded.model, **pad_rows([row], loaded.pad_id))
        loss = losses.losses.sum() / losses.counted.sum()
        found.append([g.flatten().double().numpy() for g in torch.autograd.grad(loss, wanted)])
    return [np.stack(block) for block in zip(*found, strict=True)]


def recipe_of(run):
    return run.config.recipes()[0]
