"""Scores of a job by kronfluence: EK-FAC, or no curvature at all.

The task is that of its language-model examples, with a row's loss a mean over its tokens; batches of 8
as there; damping of 0.1 × the mean eigenvalue, which those examples take for language models.

    python benchmarks/peers/score_kronfluence.py JOB OUT ekfac|identity
"""

import argparse

from job import IGNORED, Job, padded, summed_means


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("out")
    parser.add_argument("strategy", choices=("ekfac", "identity"))
    chosen = parser.parse_args()
    job = Job(chosen.job, chosen.out)

    import torch
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task
    from kronfluence.utils.dataset import DataLoaderKwargs

    class ResponseLoss(Task):
        def compute_train_loss(self, batch, model, sample=False):
            logits = model(
                input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
            ).logits
            labels = batch["labels"]
            if sample:
                with torch.no_grad():
                    p = logits[:, :-1].softmax(-1).flatten(0, 1)
                    drawn = torch.multinomial(p, num_samples=1).view(labels[:, 1:].shape)
                labels = labels.clone()
                labels[:, 1:] = drawn.masked_fill(labels[:, 1:] == IGNORED, IGNORED)
            return summed_means(logits, labels)

        def compute_measurement(self, batch, model):
            return self.compute_train_loss(batch, model)

        def get_influence_tracked_modules(self):
            return self.modules

        def get_attention_mask(self, batch):
            return batch["attention_mask"]

    job.watch()
    torch.manual_seed(0)
    model, task = job.model(), ResponseLoss()
    task.modules = job.adapted(model)
    analyzer = Analyzer(
        "peers", prepare_model(model, task), task, cpu=True, disable_tqdm=True, output_dir=job.out
    )
    analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=padded))
    train, queries = job.rows("train"), job.rows("queries")
    analyzer.fit_all_factors(
        factors_name="factors",
        dataset=train,
        per_device_batch_size=8,
        factor_args=FactorArguments(strategy=chosen.strategy),
    )
    job.stamp("indexed")
    analyzer.compute_pairwise_scores(
        scores_name="pairs",
        factors_name="factors",
        query_dataset=queries,
        train_dataset=train,
        per_device_query_batch_size=len(queries),
        per_device_train_batch_size=8,
        score_args=ScoreArguments(damping_factor=None),
    )
    scores = analyzer.load_pairwise_scores("pairs")["all_modules"]
    job.stamp("scored")
    job.write("ekfac" if chosen.strategy == "ekfac" else "gradient_dot", scores)
    job.finish()


if __name__ == "__main__":
    main()
