"""Scores of a job by loops in the manner of the code released with arXiv 2409.19998.

Written anew from its description: one row a batch, gradients kept by matrix in a dict, and Python loops
over queries, matrices and rows. λ is 0.1 × the mean squared gradient of a matrix. Unlike that code it
counts only what the shared mask counts and does not pad to 128, which favours it. The loops over queries
stop after --limit seconds each; the rest is then added in proportion, since every query costs the same.

    python benchmarks/peers/score_paper.py JOB OUT [--limit 180]
"""

import argparse
import time

from job import Job, summed_means


def gradients(model, rows, parameters):
    import torch

    found = []
    for row in rows:
        model.zero_grad()
        ids = torch.tensor([row["input_ids"]])
        summed_means(model(ids).logits, torch.tensor([row["labels"]])).backward()
        found.append({name: p.grad.clone() for name, p in parameters.items()})
    return found


def hessian_free(v, rows, lam):
    return v


def datainf(v, rows, lam):
    hvp = 0
    for g in rows:
        c = (v * g).sum() / (lam + (g**2).sum())
        hvp = hvp + (v - c * g) / (len(rows) * lam)
    return hvp


def lissa(v, rows, lam, steps=3, scale=1000):
    running = v
    for _ in range(steps):
        hvp = 0
        for g in rows:
            hvp = hvp + ((g * running).sum() * g - lam * running) / len(rows)
        running = v + running - hvp / scale
    return running


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("out")
    parser.add_argument("--limit", type=float, default=180)
    chosen = parser.parse_args()
    job = Job(chosen.job, chosen.out)

    import torch

    job.watch()
    model = job.model()
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    rows = gradients(model, job.rows("train"), parameters)
    queries = gradients(model, job.rows("queries"), parameters)
    job.stamp("indexed")
    added, stopped = [0.0, 0.0], {}
    with torch.no_grad():
        lam = {
            name: 0.1 * sum(float((row[name] ** 2).mean()) for row in rows) / len(rows)
            for name in parameters
        }
        for name, solve in (
            ("gradient_dot", hessian_free),
            ("datainf(damping=0.1, rule=mean)", datainf),
            ("paper_lissa(damping=0.1, rule=mean)", lissa),
        ):
            wall, cpu, scores = time.time(), time.process_time(), []
            for query in queries:
                line = [0.0] * len(rows)
                for matrix in parameters:
                    solved = solve(query[matrix], [row[matrix] for row in rows], lam[matrix])
                    for i, row in enumerate(rows):
                        line[i] += float((solved * row[matrix]).sum())
                scores.append(line)
                if time.time() - wall > chosen.limit:
                    break
            job.stamp(name)
            # only the first queries have scores: agreement is taken over these
            job.write(name, scores)
            if len(scores) < len(queries):
                more = len(queries) / len(scores) - 1
                added[0] += more * (time.time() - wall)
                added[1] += more * (time.process_time() - cpu)
                stopped[name] = len(scores)
    job.stamp("scored")
    if stopped:
        job.extrapolated = {"wall": added[0], "cpu": added[1], "queries": stopped}
    job.finish()


if __name__ == "__main__":
    main()
