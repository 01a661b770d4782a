"""Capture on a card against its floor: one plain forward and backward over the same batches.

Models of two sizes are built on the device with random weights in bfloat16, so nothing is downloaded. In
`lora` mode the base is frozen and LoRA r=8 on q and v is traced; in `full` mode every weight is trained and
its gradients are captured through the two-sided projection. The floor runs the same token rows, batches,
precision and logits (response positions alone) without hooks; in `full` mode it forms every weight
gradient, as a training step would. Each round runs the floor and every signal set once; medians are
printed. Signals end in memory, not on disk.

    python benchmarks/gpu.py [--shape 7b 1b] [--mode lora full] [--json FILE] [--page docs/results/gpu.md]
    python benchmarks/gpu.py --shape tiny --device cpu      # to try it without a card
"""

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib.metadata import version
from inspect import signature
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from rich.console import Console
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from wherefrom.capture import Pass
from wherefrom.data import TokenRow, plan_batches
from wherefrom.models import counted_losses, pad_rows
from wherefrom.signals import Kind, Need

SHAPES = {
    "7b": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
    },
    "1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "tiny": {
        "vocab_size": 384,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
LIKE = {"7b": "Llama-2-7B", "1b": "Llama-3.2-1B", "tiny": "two layers of width 64"}
SETS = {
    "losses": (Kind.LOSS,),
    "loss gradients": (Kind.LOSS, Kind.GRADIENT),
    "all one-pass signals": (
        Kind.LOSS,
        Kind.HIDDEN,
        Kind.ERROR,
        Kind.GRADIENT,
        Kind.STATE_GRADIENT,
    ),
}
FLOOR = "floor: forward and backward"
GOALS = {"7b": 13_000}
MOST = 1.15


def made(shape, mode, size):
    """The model, its traced parameters marked, its weights drawn where it will run."""
    config = LlamaConfig(**SHAPES[shape], max_position_embeddings=4096)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(size.device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(torch.float32)
    model.requires_grad_(mode == "full")
    if mode == "lora":
        targets = ["q_proj", "v_proj"]
        model = get_peft_model(
            model, LoraConfig(r=size.rank, target_modules=targets, task_type="CAUSAL_LM")
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter.data, std=0.02)
    else:
        # as after a fine-tune that kept its embeddings: their gradient is no product of two small sides
        model.get_input_embeddings().requires_grad_(False)
    return model.eval()


def rows_of(shape, size):
    """Rows of random tokens, from half to the whole of the length, answers of up to a third."""
    draw = np.random.default_rng(0)
    rows = []
    for index in range(size.rows):
        length = int(draw.integers(size.length // 2, size.length + 1))
        prompt = length - int(draw.integers(length // 6, length // 3 + 1))
        ids = draw.integers(3, SHAPES[shape]["vocab_size"], length)
        response = np.arange(length) >= prompt
        everywhere = np.ones(length, dtype=bool)
        rows.append(TokenRow(f"r{index}", ids, everywhere, response, response, prompt - 1))
    plan = plan_batches(rows, batch_tokens=size.batch_tokens)
    return [[rows[int(plan.order[i])] for i in b] for chunk in plan.chunks for b in chunk]


def floor(model, batches, device):
    for rows in batches:
        padded = pad_rows(rows, 0, device)
        found = counted_losses(model, **padded)
        (found.losses.sum(1) / found.counted.sum(1)).sum().backward()
        for parameter in model.parameters():
            parameter.grad = None


def captured(one, batches):
    for rows in batches:
        one.run(rows)


def passes_of(model, mode, size):
    """A pass for each signal set, or a word on why there is none."""
    options = {}
    if mode == "full":
        if "project" not in signature(Pass).parameters:
            return "full: left out, since this version's pass knows no projection."
        options["project"] = size.project
    return {
        name: Pass(model, frozenset(Need(kind) for kind in kinds), **options)
        for name, kinds in SETS.items()
    }


def seconds(action, *arguments, cuda):
    """Wall seconds, the card's queue empty before and after, and the most memory it held."""
    if cuda:
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
    begun = time.perf_counter()
    action(*arguments)
    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begun, torch.cuda.max_memory_allocated() if cuda else None


def matmul_peak(device):
    """Floating-point operations a second of one big bfloat16 matrix product, the best of several."""
    cuda = device.startswith("cuda")
    side, times = (8192, 20) if cuda else (1024, 3)
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))

    def many():
        for _ in range(times):
            torch.mm(left, right)

    many()
    best = min(seconds(many, cuda=cuda)[0] for _ in range(5))
    return 2 * side**3 * times / best


def work(model, mode, batches):
    """Operations of the floor: matrix products of base layers and attention, pads counted.

    A frozen base has no weight gradient, so its backward costs as much as its forward; a trained one twice.
    """
    config = model.config
    inside = sum(
        p.numel()
        for n, p in model.named_parameters()
        if "layers." in n and p.dim() == 2 and "lora_" not in n
    )
    head = config.hidden_size * config.vocab_size
    times = 2 if mode == "lora" else 3
    total = 0
    for rows in batches:
        length = max(len(row.ids) for row in rows)
        kept = int(np.any([_padded(row.loss_mask, length) for row in rows], axis=0).sum())
        products = len(rows) * (length * inside + kept * head) * 2 * times
        # scores and their use: a forward, and twice that back; half of it is behind the causal mask
        pairs = config.num_hidden_layers * config.hidden_size * length**2 * 2 * len(rows)
        total += products + pairs * 3
    return total


def _padded(mask, length):
    return np.pad(mask, (0, length - len(mask)))


def measured(shape, mode, size, peak):
    """Every line of one model: seconds of each round, tokens a second, ratio, share of peak, memory."""
    cuda = size.device.startswith("cuda")
    model, batches = made(shape, mode, size), rows_of(shape, size)
    passes = passes_of(model, mode, size)
    if isinstance(passes, str):
        return {"shape": shape, "mode": mode, "left out": passes}
    actions = {FLOOR: (floor, model, batches, size.device)}
    actions |= {name: (captured, one, batches) for name, one in passes.items()}
    tokens = sum(len(row.ids) for rows in batches for row in rows)
    padded = sum(len(rows) * max(len(r.ids) for r in rows) for rows in batches)
    rounds = {name: [] for name in actions}
    for index in range(size.rounds + 1):
        for name, (action, *arguments) in actions.items():
            found = seconds(action, *arguments, cuda=cuda)
            # the first round warms up
            if index:
                rounds[name].append(found)
    flops = work(model, mode, batches)
    lines = {}
    for name, found in rounds.items():
        typical = statistics.median(wall for wall, _ in found)
        ratios = [wall / base for (wall, _), (base, _) in zip(found, rounds[FLOOR], strict=True)]
        lines[name] = {
            "tokens/s": tokens / typical,
            "ratio": statistics.median(ratios),
            "low": min(ratios),
            "high": max(ratios),
            # losses alone take no backward, so the floor's work is not theirs
            "share of peak": None if name == "losses" else flops / typical / peak,
            "peak memory": max(memory for _, memory in found) if cuda else None,
        }
    return {
        "shape": shape,
        "mode": mode,
        "parameters": sum(p.numel() for p in model.parameters()),
        "rows": size.rows,
        "tokens": tokens,
        "pads": padded - tokens,
        "batches": len(batches),
        "coverage": passes["loss gradients"].coverage.describe(),
        "lines": lines,
    }


def about(size, peak):
    """What the figures were measured on and by."""
    found = {
        "date": datetime.now(UTC).date().isoformat(),
        "card": "none (CPU)",
        "driver": "none",
        "matmul peak": peak,
        "versions": {n: version(n) for n in ("torch", "transformers", "peft", "wherefrom")},
        "command": " ".join(["python", "benchmarks/gpu.py", *sys.argv[1:]]),
        "settings": {
            name: getattr(size, name)
            for name in ("rows", "length", "batch_tokens", "rounds", "rank", "project")
        },
    }
    if size.device.startswith("cuda"):
        found["card"] = torch.cuda.get_device_name(size.device)
        found["driver"] = _driver()
        found["versions"]["CUDA"] = str(torch.version.cuda)
    return found


def _driver():
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return said.splitlines()[0].strip()


def title_of(one):
    how = "LoRA on q and v" if one["mode"] == "lora" else "all weights, projected"
    return (
        f"{LIKE[one['shape']]} shape, {how}: {one['tokens']:,} tokens in {one['rows']} rows, "
        f"{one['batches']} batches, {one['pads'] / (one['tokens'] + one['pads']):.0%} pads"
    )


def cells(name, line):
    share, memory = line["share of peak"], line["peak memory"]
    return (
        name,
        f"{line['tokens/s']:,.0f}",
        f"{line['ratio']:.2f}",
        f"{line['low']:.2f}–{line['high']:.2f}",
        "" if share is None else f"{share:.0%}",
        "" if memory is None else f"{memory / 2**30:.1f}",
    )


HEADS = ("", "tokens/s", "ratio to floor", "range", "share of matmul peak", "peak GiB")


def verdict(one):
    """Whether the goals were met, where there are goals."""
    if one["mode"] != "lora" or one["shape"] == "tiny":
        return ""
    line = one["lines"]["all one-pass signals"]
    said = f"Overhead {line['ratio']:.2f} × (goal: at most {MOST})."
    if goal := GOALS.get(one["shape"]):
        said += f" {line['tokens/s']:,.0f} tokens/s (goal on one H200: {goal:,})."
    return said


def page(facts, results):
    """The results page, as Markdown."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    lines = [
        "# Capture on a GPU",
        "",
        f"    {facts['command']}",
        "",
        f"Measured on {facts['date']} on one {facts['card']}, driver {facts['driver']}; {versions}. A "
        f"bfloat16 product of two 8,192 × 8,192 matrices ran at {facts['matmul peak'] / 1e12:.0f} TFLOP/s "
        "there, which is the peak that shares are of.",
        "",
        "Random weights in bfloat16, random tokens, signals read into memory and not written to disk. The "
        "floor is a plain forward and backward over the same batches without hooks. Medians over "
        f"{facts['settings']['rounds']} rounds, each of which ran every line once.",
    ]
    for one in results:
        lines += ["", f"## {LIKE[one['shape']]} shape, {one['mode']}", ""]
        if "left out" in one:
            lines.append(one["left out"])
            continue
        lines += [f"{title_of(one)}. {one['coverage']}.", ""]
        lines += ["| " + " | ".join(HEADS) + " |", "|---" * len(HEADS) + "|"]
        lines += ["| " + " | ".join(cells(n, line)) + " |" for n, line in one["lines"].items()]
        lines += ["", verdict(one)] if verdict(one) else []
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", nargs="+", choices=sorted(SHAPES), default=["7b", "1b"])
    parser.add_argument("--mode", nargs="+", choices=("lora", "full"), default=["lora", "full"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--project", type=int, default=16, help="side of a projected gradient")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    size = parser.parse_args()
    if size.device.startswith("cuda") and not torch.cuda.is_available():
        print(
            "No CUDA card here, so nothing was measured. "
            "To try the benchmark on a CPU: python benchmarks/gpu.py --shape tiny --device cpu"
        )
        return
    if not size.device.startswith("cuda") and size.page:
        parser.error("--page records a card's figures; leave it out on a CPU")
    peak = matmul_peak(size.device)
    facts, results = about(size, peak), []
    console = Console(width=120)
    console.print(
        f"{facts['card']}, driver {facts['driver']}, matmul peak {peak / 1e12:.1f} TFLOP/s"
    )
    for shape in size.shape:
        for mode in size.mode:
            try:
                one = measured(shape, mode, size, peak)
            except torch.OutOfMemoryError:
                told = f"{LIKE[shape]} shape, {mode}: did not fit the card; lower --batch-tokens."
                one = {"shape": shape, "mode": mode, "left out": told}
            results.append(one)
            gc.collect()
            if size.device.startswith("cuda"):
                torch.cuda.empty_cache()
            if "left out" in one:
                console.print(one["left out"])
            else:
                table = Table(*HEADS, title=title_of(one))
                for name, line in one["lines"].items():
                    table.add_row(*cells(name, line))
                console.print(table, verdict(one))
            # kept as it goes: a later model may not fit the card
            if size.json:
                size.json.write_text(json.dumps({"about": facts, "results": results}, indent=2))
            if size.page:
                size.page.write_text(page(facts, results), encoding="utf-8")


if __name__ == "__main__":
    main()
