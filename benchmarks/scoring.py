"""All Gram-based methods at n rows and q queries, against the floor they cannot go below.

The floor is what any of them must do once: read each block, form K and C, and decompose K. Gradients are
drawn at random in the shapes of LoRA r=4 on q and v of SmolLM2-135M (120 blocks, 230,400 entries a row).

    python benchmarks/scoring.py [--rows 900] [--queries 100]
"""

import argparse
import time

import numpy as np
from rich.console import Console
from rich.table import Table

from wherefrom.curvature import GramBlock
from wherefrom.data import Example, get_recipe
from wherefrom.methods import BlockMethod, Evidence, Point, score_all, select_methods
from wherefrom.signals import Block, Kind, Side, both, gradient_name

SHAPES = [(4, 576), (576, 4), (4, 576), (192, 4)] * 30


class Drawn:
    """A source that draws each block when it is read, so that memory holds one at a time."""

    def __init__(self, kind, rows):
        self.ids = tuple(f"{kind}-{i}" for i in range(rows))
        self.blocks = tuple(Block(f"block-{i}", shape) for i, shape in enumerate(SHAPES))
        self.identity = {}
        self.seconds = 0.0

    def names(self):
        return tuple(gradient_name(block.name) for block in self.blocks)

    def read(self, name):
        begun = time.perf_counter()
        number = int(name.rpartition("-")[2])
        rng = np.random.default_rng([number, len(self.ids)])
        values = rng.standard_normal((len(self.ids), *SHAPES[number]), dtype=np.float32)
        self.seconds += time.perf_counter() - begun
        return values

    def stream(self, name):
        yield np.arange(len(self.ids)), self.read(name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=900)
    parser.add_argument("--queries", type=int, default=100)
    size = parser.parse_args()
    train, query = Drawn("train", size.rows), Drawn("query", size.queries)

    begun = time.perf_counter()
    for name in train.names():
        t, q = train.read(name), query.read(name)
        block = GramBlock.of(t.reshape(len(t), -1), q.reshape(len(q), -1))
        _ = block.spectrum
    drawing = train.seconds + query.seconds
    floor = time.perf_counter() - begun - drawing

    drawn = both(Kind.GRADIENT)
    chosen = [
        m
        for m in select_methods(["all"])
        if isinstance(m, BlockMethod) and m.needs <= drawn and not m.requires
    ]
    rows = [[Example.of(i, "p", "r") for i in source.ids] for source in (train, query)]
    train.seconds = query.seconds = 0.0
    begun = time.perf_counter()
    final = Point("final", {Side.TRAIN: train, Side.QUERY: query})
    scored = score_all(chosen, Evidence(*rows, get_recipe("sound-1"), final))
    total = time.perf_counter() - begun - train.seconds - query.seconds

    table = Table(
        "", "seconds", "ratio to floor", title=f"{size.rows} rows, {size.queries} queries"
    )
    table.add_row("floor: K, C and one eigendecomposition a block", f"{floor:.1f}", "1.00")
    table.add_row(f"all {len(chosen)} Gram-based methods", f"{total:.1f}", f"{total / floor:.2f}")
    for m in chosen:
        seconds = scored.seconds[m.spec]
        table.add_row(
            f"  {m.spec}, beyond what is shared", f"{seconds:.2f}", f"{seconds / floor:.3f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
