"""Scores of a job by wherefrom: a run folder is indexed and scored, as `wherefrom index` and a report do.

python benchmarks/peers/score_wherefrom.py JOB OUT --methods gradient_dot [--index precision=float32]
"""

import argparse
import shutil
import sys

from job import Job


def settings(pairs):
    return dict(pair.split("=", 1) for pair in pairs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("out")
    parser.add_argument("--methods", required=True, help="specs parted by ;, or `cheap`")
    parser.add_argument("--index", action="append", default=[], metavar="SETTING=VALUE")
    chosen = parser.parse_args()
    job = Job(chosen.job, chosen.out)

    from wherefrom.methods import select_methods
    from wherefrom.run import IndexSettings, Run

    job.watch()
    if not (job.out / "run").exists():
        left = shutil.ignore_patterns("signals", "scores")
        shutil.copytree(job.folder / "run", job.out / "run", ignore=left)
    run = Run.open(job.out / "run")
    methods = chosen.methods.split(";")
    if methods == ["cheap"]:
        classes = ("text", "forward", "one pass")
        methods = [m.spec for m in select_methods(["all"]) if m.cost in classes]
    changes = {
        "methods": tuple(methods),
        "index": IndexSettings.model_validate(settings(chosen.index)),
    }
    run = run.changed(run.config.model_copy(update=changes))
    run.index()
    job.stamp("indexed")
    found = run.score()
    job.stamp("scored")
    for (_, method), scores in found.items():
        job.write(method, scores.values)
    job.finish()
    print(f"{len(found)} methods", file=sys.stderr)


if __name__ == "__main__":
    main()
