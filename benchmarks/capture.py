"""Capture against its floor: one plain forward and backward over the same batches.

The floor runs the same token rows in the same batches, precision and logits (response positions alone),
base weights frozen, and lets autograd form the adapter's summed gradient, as a training step would; with
--full it takes the gradient of the embeddings' output alone, and forms no weight's. Each
round runs the floor and every signal set once; ratios are taken within a round and their median is
printed. Peak memory is that of a process of its own for each line, start-up the time from process start
to the first batch.

    python benchmarks/capture.py [--rows 32] [--rounds 5] [--threads 1] [--full] [--precision bfloat16]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

BEGUN = time.perf_counter()

SETS = {
    "losses": ["LOSS"],
    "hidden states": ["LOSS", "HIDDEN"],
    "loss gradients": ["LOSS", "GRADIENT"],
    "all one-pass signals": ["LOSS", "HIDDEN", "ERROR", "GRADIENT", "STATE_GRADIENT"],
}
EXTRA = {"and factors (one more backward)": [*SETS["all one-pass signals"], "FACTORS"]}


def made(size):
    import torch
    from peft import LoraConfig, get_peft_model

    from wherefrom.data import Renderer, get_recipe, plan_batches
    from wherefrom.models import load_model
    from wherefrom.tasks import TaskSize, build_task

    torch.set_num_threads(size.threads)
    loaded = load_model("builtin:smollm2-135m", precision=size.precision)
    if size.full:
        loaded.model.requires_grad_(True)
    else:
        adapter = LoraConfig(
            r=size.rank, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"
        )
        loaded.model = get_peft_model(loaded.model, adapter)
        for name, parameter in loaded.model.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn_like(parameter, dtype=torch.float32) / 50
    task = build_task("grammars", TaskSize(-(-size.rows // 10), 1))
    rows = Renderer(loaded.tokenizer, get_recipe("sound-1")).render_all(task.train[: size.rows])
    plan = plan_batches(rows, batch_tokens=size.batch_tokens)
    batches = [[rows[int(plan.order[i])] for i in b] for chunk in plan.chunks for b in chunk]
    return loaded, batches


def needs_of(kinds):
    from wherefrom.signals import SAMPLED, Kind, Need

    return frozenset(Need(Kind[k], SAMPLED if k == "FACTORS" else "loss") for k in kinds)


def passes_of(loaded, size, sets):
    from wherefrom.capture import Pass

    options = {"project": size.project} if size.full else {}
    return {
        name: Pass(loaded.model, needs_of(kinds), pad_id=loaded.pad_id, **options)
        for name, kinds in sets.items()
    }


def floor(loaded, batches):
    from wherefrom.capture._batch import make_batch
    from wherefrom.models import counted_losses

    model = loaded.model.eval()
    device = next(model.parameters()).device
    traced = [p for p in model.parameters() if p.requires_grad]
    begin = None
    if len(traced) == len(list(model.parameters())):
        model.requires_grad_(False)
        embeddings = model.get_input_embeddings()
        begin = embeddings.register_forward_hook(lambda *held: held[-1].requires_grad_(True))
    for rows in batches:
        batch = make_batch(rows, loaded.pad_id, "right", device)
        found = counted_losses(model, batch.labels, keep=batch.keep, input_ids=batch.ids)
        (found.losses.sum(1) / found.counted.sum(1)).sum().backward()
        for parameter in traced:
            parameter.grad = None
    if begin is not None:
        begin.remove()
    for parameter in traced:
        parameter.requires_grad_(True)


def captured(one, batches):
    for rows in batches:
        one.run(rows)


def timed(action, *arguments):
    wall, cpu = time.perf_counter(), time.process_time()
    action(*arguments)
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_memory():
    # not ru_maxrss: a child begins with that of the process it was forked from
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def alone(size):
    """One line in a process of its own: start-up seconds and peak memory."""
    loaded, batches = made(size)
    begun = time.perf_counter() - BEGUN
    if size.alone == "floor":
        floor(loaded, batches)
    else:
        captured(passes_of(loaded, size, SETS | EXTRA)[size.alone], batches)
    print(json.dumps({"startup": begun, "peak": peak_memory()}))


def in_own_process(name):
    command = [sys.executable, __file__, *sys.argv[1:], "--alone", name]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return json.loads(said.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=1024)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--full", action="store_true", help="all weights, projected")
    parser.add_argument("--project", type=int, default=16)
    parser.add_argument("--alone")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json")
    size = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(size.threads)
    if size.alone:
        alone(size)
        return

    from rich.console import Console
    from rich.table import Table

    loaded, batches = made(size)
    sets = SETS | EXTRA
    passes = passes_of(loaded, size, sets)
    tokens = sum(len(row.ids) for rows in batches for row in rows)
    timed(floor, loaded, batches[:1])
    for one in passes.values():
        one.run(batches[0][:2])
    found = {"floor": []} | {name: [] for name in sets}
    for _ in range(size.rounds):
        found["floor"].append(timed(floor, loaded, batches))
        for name, one in passes.items():
            found[name].append(timed(captured, one, batches))
    lines = {}
    for name, seconds in found.items():
        ratios = [s[1] / f[1] for s, f in zip(seconds, found["floor"], strict=True)]
        lines[name] = {
            "tokens/s": tokens / statistics.median(s[0] for s in seconds),
            "ratio": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
        }
        if not size.no_memory:
            lines[name] |= in_own_process(name)
    title = f"{tokens} tokens, {len(batches)} batches, {size.threads} threads, {size.precision}"
    table = Table("", "tokens/s", "CPU s to floor", "range", "peak GB", "start-up s", title=title)
    for name, line in lines.items():
        table.add_row(
            name,
            f"{line['tokens/s']:.0f}",
            f"{line['ratio']:.2f}",
            f"{line['low']:.2f}–{line['high']:.2f}",
            f"{line['peak'] / 1e9:.2f}" if "peak" in line else "",
            f"{line['startup']:.1f}" if "startup" in line else "",
        )
    Console(width=110).print(table)
    if size.json:
        with open(size.json, "w") as handle:
            json.dump({"title": title, "lines": lines}, handle, indent=2)


if __name__ == "__main__":
    main()
