"""Queries against a million training rows that do not fit memory, against reading their files once.

An index of rows × 4,096 entries (16 blocks × 256, half precision) is made in a folder, drawn at random with
a spectrum that falls as 1/√rank; then 100 queries are scored and the 100 rows at both ends kept. The floor
reads the same bytes from the same files into one buffer and throws them away. Cold means that the files
were dropped from the page cache first, warm that they had just been read.

    OMP_NUM_THREADS=2 python benchmarks/scale.py --out DIR [--rows 1000000] [--keep]
"""

import argparse
import os
import resource
import shutil
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from wherefrom.data import BatchPlan, get_recipe
from wherefrom.methods import Evidence, Point, parse_method, score_top
from wherefrom.methods._workers import workers
from wherefrom.signals import Block, MemorySignals, Side, SignalArray, gradient_name
from wherefrom.store import SignalStore

BLOCKS = tuple(Block(f"layers.{i}.q", (16, 16)) for i in range(16))
ARRAYS = [SignalArray(gradient_name(block.name), block.shape, half=True) for block in BLOCKS]
METHODS = ("gradient_dot", "gradient_cosine", "influence")
IDENTITY = {"made": "at random"}
QUERIES = 100


class Row:
    """A row of which nothing but its id is known."""

    __slots__ = ("id",)

    def __init__(self, name):
        self.id = name


def drawn(rng, rows):
    fall = (1 / np.sqrt(1 + np.arange(256, dtype=np.float32))).reshape(16, 16)
    return {a.name: rng.standard_normal((rows, 16, 16), dtype=np.float32) * fall for a in ARRAYS}


def build(folder, rows, chunk_rows):
    starts = range(0, rows, chunk_rows)
    chunks = tuple((range(start, min(start + chunk_rows, rows)),) for start in starts)
    ids = tuple(f"row-{i}" for i in range(rows))
    plan = BatchPlan(np.arange(rows), chunks)
    store = SignalStore.create(folder, ids, BLOCKS, ARRAYS, plan, IDENTITY)
    for chunk in store.missing():
        store.put(chunk, drawn(np.random.default_rng(chunk), len(chunks[chunk][0])))
    return store


def asked():
    ids = tuple(f"query-{i}" for i in range(QUERIES))
    held = MemorySignals(ids, BLOCKS, ARRAYS, np.arange(QUERIES), [QUERIES], IDENTITY)
    held.put(0, drawn(np.random.default_rng(2**32), QUERIES))
    return held


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size > 100_000)


def drop(folder):
    for path in files(folder):
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_once(folder):
    buffer = memoryview(bytearray(64 << 20))
    for path in files(folder):
        with path.open("rb", buffering=0) as handle:
            while handle.readinto(buffer):
                pass


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    found = action()
    return time.perf_counter() - wall, time.process_time() - cpu, found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--chunk-rows", type=int, default=4096)
    parser.add_argument("--memory", type=float, default=4e9)
    parser.add_argument("--keep", action="store_true", help="leave the index where it is")
    given = parser.parse_args()
    folder = given.out / "train.zarr"
    seconds, _, store = timed(lambda: build(folder, given.rows, given.chunk_rows))
    size = sum(path.stat().st_size for path in files(folder))
    console = Console()
    console.print(f"index of {size / 1e9:.2f} GB made or found in {seconds:.0f} s")

    point = Point("final", {Side.TRAIN: store, Side.QUERY: asked()})
    rows = [[Row(i) for i in source.ids] for source in point.sources.values()]
    evidence = Evidence(*rows, get_recipe("sound-1"), point)

    def scored(specs):
        chosen = [parse_method(spec) for spec in specs]
        return lambda: score_top(chosen, evidence, 100, memory=given.memory, quiet=True)

    def walked():
        for _ in store.chunks(store.names()):
            pass

    lines = []
    drop(folder)
    cold = timed(lambda: read_once(folder))
    warm = timed(lambda: read_once(folder))
    lines.append(("floor: the files read once, cold", cold, cold[0]))
    lines.append(("floor: the files read once, warm", warm, warm[0]))
    lines.append(("every row decoded and let go, warm", timed(walked), warm[0]))
    lines += [(f"{spec}, warm", timed(scored([spec])), warm[0]) for spec in METHODS]
    lines.append(("all three together, warm", timed(scored(METHODS)), warm[0]))
    drop(folder)
    lines.append(("all three together, cold", timed(scored(METHODS)), cold[0]))

    title = f"{given.rows:,} rows × 4,096, {QUERIES} queries, top 100, {workers()} workers"
    table = Table("", "wall s", "CPU s", "GB/s", "ratio to floor", title=title)
    for name, (wall, cpu, _), floor in lines:
        cells = (f"{wall:.1f}", f"{cpu:.1f}", f"{size / wall / 1e9:.2f}", f"{wall / floor:.2f}")
        table.add_row(name, *cells)
    console.print(table)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    console.print(
        f"peak memory {peak / 1e9:.2f} GB of {given.memory / 1e9:.1f} GB (index {size / 1e9:.2f} GB)"
    )
    if not given.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
