"""Scores of a run's rows by dattri 0.3.0: gradient dot, TRAK, LoGra, as in its GPT-2 examples, and more.

In an environment of its own, made as docs/results/other-tools.md says:

    OMP_NUM_THREADS=1 peers/bin/python benchmarks/other_tools/score_dattri.py RUN OUT

Writes OUT/dattri_….csv, and OUT/dattri_logra.npy as the library returns it (training rows × queries).
DataInf and EK-FAC are tried at their defaults; one that fails is named with its error.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from dattri.algorithm import (
    IFAttributorDataInf,
    IFAttributorEKFAC,
    LoGraAttributor,
    TracInAttributor,
    TRAKAttributor,
)
from dattri.task import AttributionTask
from rows import IGNORED, Problem
from torch import nn
from torch.utils.data import DataLoader

NAMES = ("input_ids", "attention_mask", "labels")


def mean_loss(logits, labels):
    """Of the counted tokens, as the models of transformers return it."""
    logits, labels = logits[..., :-1, :].flatten(0, -2), labels[..., 1:].flatten()
    total = F.cross_entropy(logits, labels, reduction="sum", ignore_index=IGNORED)
    return total / (labels != IGNORED).sum()


class Peer:
    def __init__(self, problem):
        self.problem = problem
        self.model = problem.model()
        self.adapted = [
            name
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Linear) and module.weight.requires_grad
        ]

    def loss(self, params, batch):
        """Of one row: dattri maps over the rows of a batch.

        Without the attention mask, which transformers 5 looks into and vmap does not allow. Pads stand at
        the end, where no counted token sees them.
        """
        ids, _, labels = (part.reshape(-1, part.shape[-1]) for part in batch)
        out = torch.func.functional_call(self.model, params, ids, kwargs={"use_cache": False})
        return mean_loss(out.logits, labels)

    def log_probability(self, params, batch):
        return -self.loss(params, batch)

    def log_odds(self, params, batch):
        found = -self.loss(params, batch)
        return found - torch.log(1 - torch.exp(found))

    def probability(self, params, batch):
        return torch.exp(-self.loss(params, batch))

    def loss_of_model(self, model, batch, device):
        """LoGra's attributor calls the loss with a model; a batch is one row."""
        out = model(**{name: part.to(device) for name, part in batch.items()}, use_cache=False)
        return out.loss

    def task(self, loss, target=None):
        # the weights are there already
        return AttributionTask(
            loss_func=loss,
            target_func=target,
            model=self.model,
            checkpoints="the run",
            checkpoints_load_func=lambda model, checkpoint: model,
        )

    def loaders(self, batch_size=10, dicts=False):
        def collate(rows):
            parts = {name: torch.stack([row[name] for row in rows]) for name in NAMES}
            return parts if dicts else tuple(parts.values())

        return [
            DataLoader(rows, batch_size=batch_size, collate_fn=collate)
            for rows in (self.problem.train, self.problem.queries)
        ]

    def grad_dot(self, target=None):
        found = TracInAttributor(
            self.task(self.loss, target), weight_list=torch.ones(1), normalized_grad=False
        )
        return found.attribute(*self.loaders())

    def trak(self, **settings):
        train, queries = self.loaders()
        found = TRAKAttributor(self.task(self.log_odds), self.probability, **settings)
        found.cache(train)
        return found.attribute(queries)

    def logra(self, **settings):
        loaders = self.loaders(batch_size=1, dicts=True)
        # without a folder it leaves a file in the current one
        with tempfile.TemporaryDirectory() as folder:
            found = LoGraAttributor(
                self.task(self.loss_of_model), self.adapted, cache_dir=folder, **settings
            )
            found.cache(loaders[0])
            return found.attribute(*loaders)

    def data_inf(self, **settings):
        train, queries = self.loaders()
        found = IFAttributorDataInf(self.task(self.loss), **settings)
        found.cache(train)
        return found.attribute(train, queries)

    def ekfac(self, **settings):
        train, queries = self.loaders()
        found = IFAttributorEKFAC(self.task(self.loss), self.adapted, **settings)
        found.cache(train)
        return found.attribute(train, queries)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    chosen = parser.parse_args()
    problem = Problem.of(chosen.run)
    peer = Peer(problem)
    for name, score in {
        "grad_dot": peer.grad_dot,
        "grad_dot_log_probability": lambda: peer.grad_dot(peer.log_probability),
        "trak": peer.trak,
        "trak_regularized": lambda: peer.trak(regularization=1e-3),
        "logra": lambda: peer.logra(damping=1e-2, proj_dim=1024),
        # λ = damping × trace ÷ proj_dim: wherefrom's rule under sound-1, trace ÷ rows
        "logra_damped": lambda: peer.logra(damping=1024 / len(problem.train), proj_dim=1024),
        "datainf": peer.data_inf,
        "datainf_regularized": lambda: peer.data_inf(regularization=0.1),
        "ekfac": peer.ekfac,
    }.items():
        try:
            # dattri returns training rows × queries
            scores = score().detach()
        except Exception as error:
            print(f"dattri_{name}: {type(error).__name__}: {error}")
            continue
        problem.write(scores.T, chosen.out / f"dattri_{name}.csv")
        if name == "logra":
            np.save(chosen.out / "dattri_logra.npy", scores.numpy())


if __name__ == "__main__":
    main()
