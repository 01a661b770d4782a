"""All Gram-based methods at n rows and q queries: against the floor, and against the paper's loops.

The floor is what any of them must do once: read each block, form K and C, and decompose K. Gradients are
drawn at random in the shapes of LoRA r=4 on q and v of SmolLM2-135M (120 blocks, 230,400 entries a row).
The loops (paper_loops.py) are timed on a slice of them, where their scores are compared with ours, and
their time is extrapolated by the number of (block, query, row) that they go over. Wall and CPU seconds are
printed: on a shared machine, wall time says little.

    OMP_NUM_THREADS=2 python benchmarks/scoring.py [--rows 1000] [--queries 100] [--no-loops]
"""

import argparse
import time
from dataclasses import dataclass

import numpy as np
import paper_loops
import torch
from rich.console import Console
from rich.table import Table

from wherefrom.curvature import GramBlock
from wherefrom.data import Example, get_recipe
from wherefrom.methods import BlockMethod, Evidence, Point, parse_method, score_all, select_methods
from wherefrom.methods._workers import in_order, workers
from wherefrom.signals import Block, Kind, Side, both, gradient_name

SHAPES = [(4, 576), (576, 4), (4, 576), (192, 4)] * 30
SLICE = (8, 2, 30)
"""Blocks, queries and rows of the slice that the loops are timed on."""
TIMES = 3
"""That each loop is run; the quickest counts."""
STEPS = 200
"""Of a LiSSA that converges, on the slice; its time is extrapolated to as many as ours says it takes."""


class Drawn:
    """A source of gradients drawn at random; all of them are in memory, so that drawing costs nothing."""

    def __init__(self, kind, rows, blocks=None):
        self.ids = tuple(f"{kind}-{i}" for i in range(rows))
        self.blocks = tuple(Block(f"block-{i}", shape) for i, shape in enumerate(SHAPES[:blocks]))
        self.identity = {}
        seeds = {b.name: [i, kind == "train"] for i, b in enumerate(self.blocks)}
        self._values = {
            gradient_name(b.name): np.random.default_rng(seeds[b.name]).standard_normal(
                (rows, *b.shape), dtype=np.float32
            )
            for b in self.blocks
        }

    def names(self):
        return tuple(self._values)

    def read(self, name):
        return self._values[name]

    def stream(self, name):
        yield np.arange(len(self.ids)), self.read(name)


@dataclass
class Timed:
    wall: float
    cpu: float
    found: object = None


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    found = action()
    return Timed(time.perf_counter() - wall, time.process_time() - cpu, found)


def evidence(train, query, recipe):
    rows = [[Example.of(i, "p", "r") for i in source.ids] for source in (train, query)]
    final = Point("final", {Side.TRAIN: train, Side.QUERY: query})
    return Evidence(*rows, get_recipe(recipe), final)


def scored(specs, ev):
    return timed(lambda: score_all([parse_method(s) for s in specs], ev, quiet=True))


def floor(train, query):
    def one(name):
        t, q = train.read(name), query.read(name)
        _ = GramBlock.of(t.reshape(len(t), -1), q.reshape(len(q), -1)).spectrum

    return timed(lambda: list(in_order(one, train.names())))


def as_tensors(source):
    return [
        {name: torch.from_numpy(source.read(name)[i]).flatten() for name in source.names()}
        for i in range(len(source.ids))
    ]


def loops(console, size, ev):
    """The loops on a slice, extrapolated, beside ours in full."""
    blocks, queries, rows = SLICE
    train, query = Drawn("train", rows, blocks), Drawn("query", queries, blocks)
    few = evidence(train, query, "paper-1")
    g, q = as_tensors(train), as_tensors(query)
    top = {}
    for name in train.names():
        values = train.read(name).reshape(rows, -1).astype(float)
        top[name] = float(np.linalg.eigvalsh(values @ values.T / rows).max())
    runs = {
        "gradient_dot": lambda: paper_loops.hessian_free(g, q),
        "datainf": lambda: paper_loops.datainf(g, q),
        "paper_lissa": lambda: paper_loops.paper_lissa(g, q),
        f"lissa(steps={STEPS})": lambda: paper_loops.lissa(g, q, STEPS, top),
    }
    share = size.rows * size.queries * len(SHAPES) / (rows * queries * blocks)
    once = min(timed(lambda: paper_loops.paper_lissa(g, q, steps=0)).cpu for _ in range(TIMES))
    table = Table(
        "",
        "loops CPU s, extrapolated",
        "ours CPU s",
        "times faster",
        "largest difference",
        title=f"the paper's loops, timed on {blocks} blocks × {queries} queries × {rows} rows",
    )
    taken_by = {}
    for spec, run in runs.items():
        slow = min((timed(run) for _ in range(TIMES)), key=lambda t: t.cpu)
        mine = scored([spec], few).found.scores[0].values
        worst = np.abs(np.array(slow.found) - mine).max() / np.abs(mine).max()
        converges = spec.startswith("lissa")
        ours = scored(["lissa" if converges else spec], ev)
        taken, name = slow.cpu, spec
        if converges:
            needed = ours.found.scores[0].settings["mean steps"]
            taken = once + (slow.cpu - once) * needed / STEPS
            name = f"LiSSA until it converges ({needed:.0f} steps)"
        taken_by[name] = taken * share
        cells = (f"{taken * share:,.0f}", f"{ours.cpu:.1f}", f"{taken * share / ours.cpu:,.0f}")
        table.add_row(name, *cells, f"{worst:.1e}")
    *three, last = taken_by.values()
    for label, slow, specs in (
        ("the first three together", sum(three), ["gradient_dot", "datainf", "paper_lissa"]),
        (
            "all four together",
            sum(three) + last,
            ["gradient_dot", "datainf", "paper_lissa", "lissa"],
        ),
    ):
        cpu = scored(specs, ev).cpu
        table.add_row(label, f"{slow:,.0f}", f"{cpu:.1f}", f"{slow / cpu:,.0f}", "")
    console.print(table)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--no-loops", action="store_true", help="leave the paper's loops out")
    size = parser.parse_args()
    torch.set_num_threads(1)
    console = Console()
    train, query = Drawn("train", size.rows), Drawn("query", size.queries)
    least = floor(train, query)

    drawn = both(Kind.GRADIENT)
    chosen = [
        m.spec
        for m in select_methods(["all"])
        if isinstance(m, BlockMethod) and m.needs <= drawn and not m.requires
    ]
    ours = scored(chosen, evidence(train, query, "sound-1"))
    title = f"{size.rows} rows, {size.queries} queries, {workers()} workers"
    table = Table("", "wall s", "CPU s", "ratio to floor (CPU)", title=title)

    def row(name, taken):
        cells = (f"{taken.wall:.1f}", f"{taken.cpu:.1f}", f"{taken.cpu / least.cpu:.2f}")
        table.add_row(name, *cells)

    row("floor: K, C and one eigendecomposition a block", least)
    row(f"all {len(chosen)} Gram-based methods", ours)
    console.print(table)
    beyond = Table("beyond what is shared", "seconds of the workers")
    for spec in chosen:
        beyond.add_row(spec, f"{ours.found.seconds[spec]:.2f}")
    console.print(beyond)
    if not size.no_loops:
        loops(console, size, evidence(train, query, "paper-1"))


if __name__ == "__main__":
    main()
