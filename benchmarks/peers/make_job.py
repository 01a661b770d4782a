"""Fine-tunes a small adapter with wherefrom and writes its rows as plain token files for every tool.

python benchmarks/peers/make_job.py FOLDER [--task math] [--rows 100] [--queries 20] [--rank 8]
"""

import argparse
import json
from pathlib import Path

from wherefrom.data import Renderer, write_snapshot
from wherefrom.models import builtin_model
from wherefrom.run import Run, make_config
from wherefrom.tasks import TaskSize, build_task

IGNORED = -100


def line(row):
    labels = [t if counts else IGNORED for t, counts in zip(row.ids, row.loss_mask, strict=True)]
    ids = [int(token) for token in row.ids]
    found = {"id": row.id, "input_ids": ids, "labels": [int(t) for t in labels], "length": len(ids)}
    return json.dumps(found) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--task", default="math")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--rank", type=int, default=8)
    size = parser.parse_args()
    folder = size.folder.resolve()
    classes = len(build_task(size.task, TaskSize(1, 1)).labels)
    task = build_task(size.task, TaskSize(-(-size.rows // classes), -(-size.queries // classes)))
    folder.mkdir(parents=True, exist_ok=True)
    write_snapshot(task.train[: size.rows], folder / "rows.jsonl")
    write_snapshot(task.queries[: size.queries], folder / "asked.jsonl")
    model = str(builtin_model("smollm2-135m"))
    tuned = {"epochs": 1, "learning_rate": 1e-3, "rank": size.rank, "targets": ("q_proj", "v_proj")}
    config = make_config(
        "the job",
        model=model,
        data=str(folder / "rows.jsonl"),
        queries=str(folder / "asked.jsonl"),
        finetune=tuned,
    )
    run = Run.create(folder / "run", config)
    run.finetune()
    # what `contrastive` compares a response with is data, like the responses
    run.references()
    renderer = Renderer(run.model.tokenizer, config.recipes()[0])
    tokens = {}
    for side, rows in (("train", run.train), ("queries", run.queries)):
        rendered = renderer.render_all(rows)
        tokens[side] = sum(len(row.ids) for row in rendered)
        (folder / f"{side}.jsonl").write_text("".join(map(line, rendered)))
    about = {
        "model": model,
        "adapter": str(folder / "run" / "adapter"),
        "task": size.task,
        "rows": len(run.train),
        "queries": len(run.queries),
        "rank": size.rank,
        "tokens": tokens,
        "counted tokens": sum(int(r.loss_mask.sum()) for r in renderer.render_all(run.train)),
    }
    # written last: its presence says that the job is whole
    (folder / "job.json").write_text(json.dumps(about, indent=2))


if __name__ == "__main__":
    main()
