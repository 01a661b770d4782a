"""Scores of a job by bergson: `build` of the queries and `score` of the rows, or `ekfac`; one process.

One process is what its documentation's YAML of several steps comes to. Precision, batches of 2,048
tokens and no projection are its defaults; the README's first example projects to 16.

    python benchmarks/peers/score_bergson.py JOB OUT dot|ekfac [--precision fp32] [--projection 0]
"""

import argparse
import os
from pathlib import Path

from job import Job


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("out")
    parser.add_argument("method", choices=("dot", "ekfac"))
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--projection", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    chosen = parser.parse_args()
    if chosen.processes > 1:
        # for the processes that bergson will start; they share the threads of one
        share = max(1, int(os.environ["OMP_NUM_THREADS"]) // chosen.processes)
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(share)
    job = Job(chosen.job, chosen.out)

    import numpy as np
    from bergson.cli.commands import Build, Ekfac, Score
    from bergson.config import (
        DataConfig,
        DistributedConfig,
        HessianConfig,
        HessianPipelineConfig,
        IndexConfig,
        PreprocessConfig,
        QuerySetConfig,
        ScoreConfig,
    )
    from bergson.data import load_scores

    job.watch()

    def index(name, rows):
        return IndexConfig(
            run_path=str(job.out / name),
            model=job.adapter,
            tokenizer=job.base,
            data=DataConfig(dataset=str(job.folder / f"{rows}.jsonl")),
            precision=chosen.precision,
            distributed=DistributedConfig(nproc_per_node=chosen.processes),
            projection_dim=chosen.projection,
            # as wherefrom's recipe has it; the default is a sum
            loss_reduction="mean",
        )

    if chosen.method == "dot":
        Build(index("queries", "queries"), PreprocessConfig()).execute()
        job.stamp("indexed")
        Score(
            ScoreConfig(query_path=str(job.out / "queries")),
            index("scored", "train"),
            PreprocessConfig(),
        ).execute()
        path, name = job.out / "scored", "gradient_dot"
    else:
        queries = QuerySetConfig(dataset=str(job.folder / "queries.jsonl"))
        Ekfac(
            index("ekfac", "train"),
            HessianConfig(method="kfac", ev_correction=True),
            ScoreConfig(),
            PreprocessConfig(),
            HessianPipelineConfig(query=queries),
        ).execute()
        path, name = job.out / "ekfac" / "scores", "ekfac"
    scores = np.asarray(load_scores(Path(path))[:], dtype=np.float32)
    job.stamp("scored")
    job.write(name, scores.T)
    job.finish()


if __name__ == "__main__":
    main()
