"""The signal store against its floor: writing and reading the same files' bytes, and nothing else.

Every round does each thing once, one after another, and the best round counts. Files are in the page cache
(warm), so the floor is the memory's speed and not the disk's; on a cold disk the ratios can only be lower.
Rates are of stored bytes. `put` waits until the disk has them, which the floor does not; `zarr` is
zarr-python's own reader of the same files.

    python benchmarks/store.py [--rows 100000] [--rounds 3] [--full] [--only projected] [--folder DIR]
"""

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr
from rich.console import Console
from rich.table import Table

from wherefrom.data import BatchPlan
from wherefrom.signals import SignalArray
from wherefrom.store import SignalStore


def plan_of(rows, chunk_rows):
    order = np.random.default_rng(0).permutation(rows)
    starts = range(0, rows, chunk_rows)
    return BatchPlan(order, tuple((range(s, min(rows, s + chunk_rows)),) for s in starts))


def files_of(folder):
    return sorted(p for p in folder.rglob("c/**/*") if p.is_file() and "order" not in p.parts)


def read_raw(files):
    for path in files:
        with path.open("rb", buffering=0) as handle:
            size = path.stat().st_size
            assert handle.readinto(memoryview(SCRATCH)[:size]) == size


SCRATCH = bytearray(1 << 28)


def write_raw(files, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number, path in enumerate(files):
        (folder / str(number)).write_bytes(memoryview(SCRATCH)[: path.stat().st_size])


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def fill(store, chunks, rows):
    for chunk in range(chunks):
        store.put(chunk, {name: values[: rows(chunk)] for name, values in DATA.items()})


def drain(pieces):
    for _ in pieces:
        pass


DATA = {}


def measure(title, rows, arrays, chunk_rows, rounds, folder):
    plan = plan_of(rows, chunk_rows)
    rng = np.random.default_rng(1)
    DATA.clear()
    DATA.update({a.name: rng.standard_normal((chunk_rows, *a.shape), np.float32) for a in arrays})
    ids = tuple(map(str, range(rows)))
    place = folder / "store"

    def make():
        return SignalStore.create(place, ids, (), arrays, plan, {}, restart=True)

    def rows_of(chunk):
        return min(chunk_rows, rows - chunk * chunk_rows)

    chunks = len(plan.chunks)
    fill(make(), chunks, rows_of)
    files = files_of(place)
    stored = sum(p.stat().st_size for p in files)
    names = [a.name for a in arrays]
    held = SignalStore.open(place)
    first = max(1, min(chunks, 20))
    part = sum(s.file_bytes for s in held._shards) * first

    def by_zarr():
        group = zarr.open_group(str(place), mode="r")
        for shard in held._shards:
            for start in range(0, first * chunk_rows, chunk_rows):
                group[shard.name][start : start + chunk_rows]

    def one_by_one():
        for name in names:
            drain(held.stream(name))

    def whole():
        for name in names:
            held.read(name)

    things = {
        "write raw": (lambda: write_raw(files, folder / "raw"), stored, "write raw"),
        "put": (lambda: fill(make(), chunks, rows_of), stored, "write raw"),
        "read raw": (lambda: read_raw(files), stored, "read raw"),
        "chunks, all arrays": (lambda: drain(held.chunks(names)), stored, "read raw"),
        "stream, array by array": (one_by_one, stored, "read raw"),
        "read, array by array": (whole, stored, "read raw"),
        "zarr, some chunks": (by_zarr, part, "read raw"),
    }
    best = {}
    for _ in range(rounds):
        for name, (action, _, _) in things.items():
            best[name] = min(best.get(name, (np.inf, np.inf)), timed(action))
    told = f"{title}: {rows:,} rows, {chunks:,} chunks of {chunk_rows}, {len(files):,} files"
    table = Table(
        "", "MB/s", "CPU s per GB", "× the floor", title=f"{told}, {stored / 1e6:,.0f} MB"
    )
    for name, (_, size, floor) in things.items():
        wall, cpu = best[name]
        least = best[floor][0] / things[floor][1]
        rate, ratio = f"{size / wall / 1e6:,.0f}", f"{wall / size / least:.1f}"
        table.add_row(name, rate, f"{cpu / size * 1e9:.2f}", ratio)
    Console(width=100).print(table)
    shutil.rmtree(place)
    shutil.rmtree(folder / "raw")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="float32 in place of half precision")
    parser.add_argument("--only", choices=["projected", "lora"])
    parser.add_argument("--chunk-rows", type=int, nargs="+", default=[64, 1024])
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    half = not asked.full
    folder = Path(tempfile.mkdtemp(dir=asked.folder))
    projected = [SignalArray(f"g{i}", (256,), half=half) for i in range(16)]
    shapes = [(4, 576), (576, 4), (4, 576), (192, 4)] * 30
    lora = [SignalArray(f"g{i}", shape, half=half) for i, shape in enumerate(shapes)]
    for rows in asked.chunk_rows if asked.only != "lora" else ():
        measure("projected", asked.rows, projected, rows, asked.rounds, folder)
    if asked.only != "projected":
        measure("LoRA", 500, lora, 64, asked.rounds, folder)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
