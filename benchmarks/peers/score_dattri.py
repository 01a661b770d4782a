"""Scores of a job by dattri: gradient dot, LoGra, DataInf.

python benchmarks/peers/score_dattri.py JOB OUT dot|logra|datainf [--batch 20]
"""

import argparse
from contextlib import nullcontext

from job import Job, padded, summed_means


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("out")
    parser.add_argument("method", choices=("dot", "logra", "datainf"))
    parser.add_argument("--batch", type=int, default=20)
    chosen = parser.parse_args()
    job = Job(chosen.job, chosen.out)

    import torch
    from dattri.algorithm import IFAttributorDataInf, LoGraAttributor, TracInAttributor
    from dattri.task import AttributionTask
    from torch.utils.data import DataLoader

    job.watch()
    model = job.model()

    def loss_of_row(params, batch):
        """What dattri maps over a batch. transformers 5 and vmap allow no attention mask; pads are last."""
        ids, labels = (part.reshape(-1, part.shape[-1]) for part in batch)
        out = torch.func.functional_call(model, params, ids, kwargs={"use_cache": False})
        return summed_means(out.logits, labels)

    def loss_of_batch(model, batch, device):
        """What its hooks run; a sum over rows, so that rows of a batch stay apart."""
        given = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return summed_means(model(**given, use_cache=False).logits, batch["labels"])

    def task(loss):
        # the weights are there already
        return AttributionTask(
            loss_func=loss, model=model, checkpoints="", checkpoints_load_func=lambda m, _: m
        )

    def as_tuple(rows):
        batch = padded(rows)
        return batch["input_ids"], batch["labels"]

    def loaders(collate, batch):
        return [
            DataLoader(rows, batch_size=batch, collate_fn=collate)
            for rows in (job.rows("train"), job.rows("queries"))
        ]

    train, queries = loaders(padded if chosen.method == "logra" else as_tuple, chosen.batch)
    if chosen.method == "dot":
        name = "gradient_dot"
        found = TracInAttributor(
            task(loss_of_row), weight_list=torch.ones(1), normalized_grad=False
        )
    elif chosen.method == "logra":
        # λ is damping × trace ÷ proj_dim: trace ÷ rows, as wherefrom's default recipe has it
        name = "influence"
        settings = {"damping": 1024 / len(job.rows("train")), "proj_dim": 1024}
        found = LoGraAttributor(
            task(loss_of_batch), job.adapted(model), cache_dir=str(job.out), **settings
        )
    else:
        # one λ for all layers, where wherefrom's follows each layer's gradients: not the same method
        name = "datainf(regularization=0.1)"
        found = IFAttributorDataInf(task(loss_of_row), regularization=0.1)
    # without it every gradient that torch.func makes keeps its graph: 0.8 GB a row
    with nullcontext() if chosen.method == "logra" else torch.no_grad():
        if chosen.method != "dot":
            found.cache(train)
        job.stamp("indexed")
        scores = found.attribute(train, queries).detach()
    job.stamp("scored")
    job.write(name, scores.T)
    job.finish()


if __name__ == "__main__":
    main()
