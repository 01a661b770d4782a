"""How far EK-FAC moves with the labels that are drawn from the model: kronfluence's and wherefrom's.

kronfluence draws labels anew in each of its passes, wherefrom draws them once. So kronfluence is fitted
both ways, each time under several draws, and wherefrom under several draws of its own beside the one
that the run holds (patched in here: there is no such setting). Damping is 0.1 × the mean eigenvalue.

    OMP_NUM_THREADS=1 peers/bin/python benchmarks/other_tools/label_draws.py RUN [--draws 8]
"""

import argparse
import shutil
import tempfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xxhash
from rich.console import Console
from rich.table import Table
from rows import IGNORED, Problem
from scipy.stats import spearmanr
from score_kronfluence import Peer, ResponseLoss

from wherefrom.capture import _token_weights
from wherefrom.run import Run, evaluate_file
from wherefrom.scores import read_scores, write_scores


class SharedLabels(ResponseLoss):
    """The same drawn labels in every pass, looked up by a row's tokens."""

    def __init__(self, modules, problem, seed):
        super().__init__(modules)
        rows = problem.train
        with torch.no_grad():
            p = problem.model()(input_ids=rows.input_ids, attention_mask=rows.attention_mask)
        torch.manual_seed(seed)
        drawn = torch.multinomial(p.logits[:, :-1].softmax(-1).flatten(0, 1), num_samples=1)
        labels = rows.labels.clone()
        labels[:, 1:] = drawn.view(labels[:, 1:].shape).masked_fill(
            labels[:, 1:] == IGNORED, IGNORED
        )
        self.labels = dict(zip(map(tuple, rows.input_ids.tolist()), labels, strict=True))

    def compute_train_loss(self, batch, model, sample=False):
        if sample:
            rows = map(tuple, batch["input_ids"].tolist())
            batch = {**batch, "labels": torch.stack([self.labels[row] for row in rows])}
        return super().compute_train_loss(batch, model)


def theirs(problem, seed, path, shared):
    with tempfile.TemporaryDirectory() as folder:
        task = (lambda modules: SharedLabels(modules, problem, seed)) if shared else ResponseLoss
        peer = Peer(problem, folder, task)
        torch.manual_seed(seed)
        peer.fit("ekfac")
        problem.write(peer.scores("ekfac", damping_factor=None), path)


def ours(problem, seed, path):
    def uniform(row, count):
        content = xxhash.xxh3_64_intdigest(row.ids.tobytes() + row.loss_mask.tobytes())
        return np.random.default_rng([content, seed]).random(count)

    kept, _token_weights._uniform = _token_weights._uniform, uniform
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "run"
            left = shutil.ignore_patterns("signals", "scores", "counterfactual")
            shutil.copytree(problem.folder, copy, ignore=left)
            run = Run.open(copy)
            run = run.changed(run.config.model_copy(update={"methods": ("ekfac",)}))
            run.index(restart=True)
            (scores,) = run.score().values()
    finally:
        _token_weights._uniform = kept
    write_scores(scores, path)


def likeness(one, other):
    return np.mean([spearmanr(a, b)[0] for a, b in zip(one, other, strict=True)])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--draws", type=int, default=8)
    chosen = parser.parse_args()
    problem = Problem.of(chosen.run)
    held = problem.run.path / "scores" / problem.run.config.recipes()[0].name / "ekfac.parquet"
    held = read_scores(held).values
    table = Table("labels", "between draws", "with the run's ekfac", "LDS")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        for name, score, ending in (
            ("kronfluence, anew in each pass", lambda *a: theirs(*a, shared=False), "csv"),
            ("kronfluence, drawn once", lambda *a: theirs(*a, shared=True), "csv"),
            ("wherefrom, drawn once", ours, "parquet"),
        ):
            paths = [out / f"{name} {seed}.{ending}" for seed in range(1, chosen.draws + 1)]
            for seed, path in enumerate(paths, 1):
                score(problem, seed, path)
            found = [
                pd.read_csv(path, index_col=0).to_numpy()
                if ending == "csv"
                else read_scores(path).values
                for path in paths
            ]
            frame = evaluate_file(paths, chosen.run)
            columns = (
                [likeness(a, b) for a, b in combinations(found, 2)],
                [likeness(values, held) for values in found],
                frame.loc[frame["metric"] == "lds", "value"],
            )
            table.add_row(
                name,
                *(f"{np.median(c):.2f} ({min(c):.2f} to {max(c):.2f})" for c in columns),
            )
    Console(width=108).print(table)


if __name__ == "__main__":
    main()
