"""Scores of a run's rows by kronfluence 1.0.1: EK-FAC at its defaults, and otherwise.

In an environment of its own, made as docs/results/other-tools.md says:

    OMP_NUM_THREADS=1 peers/bin/python benchmarks/other_tools/score_kronfluence.py RUN OUT [--seed 0]

Writes OUT/kronfluence_….csv. The task is that of the library's DailyMail example (its labels are masked,
too) on a causal model: a summed cross-entropy where a label counts, and its measurement is the loss.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from rows import IGNORED, Problem
from torch import nn


class ResponseLoss(Task):
    def __init__(self, modules):
        self.modules = modules

    def compute_train_loss(self, batch, model, sample=False):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[
            :, :-1
        ]
        logits, labels = logits.flatten(0, 1), batch["labels"][:, 1:].flatten()
        if sample:
            with torch.no_grad():
                drawn = torch.multinomial(logits.softmax(-1), num_samples=1).flatten()
            labels = drawn.masked_fill(labels == IGNORED, IGNORED)
        return F.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)

    def compute_measurement(self, batch, model):
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self):
        return self.modules

    def get_attention_mask(self, batch):
        return batch["attention_mask"]


class Peer:
    def __init__(self, problem, folder, task=ResponseLoss):
        model = problem.model()
        # LoRA's A and B are linear layers of their own
        modules = [
            name
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module.weight.requires_grad
        ]
        task = task(modules)
        self.problem = problem
        self.analyzer = Analyzer(
            "other-tools",
            prepare_model(model, task),
            task,
            cpu=True,
            disable_tqdm=True,
            output_dir=folder,
        )

    def fit(self, factors, **settings):
        self.analyzer.fit_all_factors(
            factors_name=factors,
            dataset=self.problem.train,
            factor_args=FactorArguments(**settings),
            per_device_batch_size=10,
        )

    def scores(self, factors, **settings):
        self.analyzer.compute_pairwise_scores(
            scores_name="scores",
            factors_name=factors,
            query_dataset=self.problem.queries,
            train_dataset=self.problem.train,
            per_device_query_batch_size=10,
            per_device_train_batch_size=10,
            score_args=ScoreArguments(**settings),
            overwrite_output_dir=True,
        )
        return self.analyzer.load_pairwise_scores("scores")["all_modules"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0, help="of the labels that are drawn")
    chosen = parser.parse_args()
    problem = Problem.of(chosen.run)
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(problem, folder)
        torch.manual_seed(chosen.seed)
        peer.fit("ekfac")
        torch.manual_seed(chosen.seed + 1)
        peer.fit("again")
        peer.fit("identity", strategy="identity")
        for name, factors, settings in (
            ("ekfac", "ekfac", {}),
            ("ekfac_damped", "ekfac", {"damping_factor": None}),
            ("ekfac_damped_redrawn", "again", {"damping_factor": None}),
            ("identity", "identity", {}),
        ):
            scores = peer.scores(factors, **settings)
            problem.write(scores, chosen.out / f"kronfluence_{name}.csv")


if __name__ == "__main__":
    main()
