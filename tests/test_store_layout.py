"""How signals lie on disk, and reading several of them a piece at a time."""

import shutil
import threading
import tracemalloc

import numpy as np
import pytest
import torch
import zarr

from test_store import IDENTITY, LENGTHS, make_plan, tree
from wherefrom.signals import SignalArray
from wherefrom.store import SignalStore
from wherefrom.store._buffers import Buffers

MANY = (
    SignalArray("a", (2, 2)),
    SignalArray("b", (3,)),
    SignalArray("c", (2, 2)),
    SignalArray("d", (2, 2)),
    SignalArray("e", (3,), half=True),
    SignalArray("nothing", (0,)),
    SignalArray("f", (3,), half=True),
    SignalArray("g", (2, 2)),
)


def many_values(rows=7):
    rng = np.random.default_rng(1)
    return {a.name: rng.integers(-9, 9, (rows, *a.shape)).astype("f4") for a in MANY}


def store_of_many(folder, lengths=LENGTHS, chunk_rows=2):
    plan, values = make_plan(lengths, chunk_rows), many_values(len(lengths))
    ids = tuple(map(str, range(len(lengths))))
    store = SignalStore.create(folder, ids, (), MANY, plan, IDENTITY)
    for number, chunk in enumerate(plan.chunks):
        rows = plan.order[[i for batch in chunk for i in batch]]
        store.put(number, {name: array[rows] for name, array in values.items()})
    return SignalStore.open(folder), values


@pytest.mark.parametrize("names", ["abcdefg", "a", "dca", "gb", "ef", "f", "bd", "aa"])
def test_any_arrays_come_together_whatever_files_they_share(tmp_path, names):
    store, values = store_of_many(tmp_path / "s")
    # all chunks are held at once, so that none may lie in another's memory
    pieces = list(store.chunks(list(names)))
    assert [len(rows) for rows, _ in pieces] == [2, 2, 2, 1]
    for rows, found in pieces:
        assert list(found) == list(dict.fromkeys(names))
        assert all(np.array_equal(found[name], values[name][rows]) for name in names)
    for rows, found in store.stream(names[0]):
        assert np.array_equal(found, values[names[0]][rows])
    assert np.array_equal(store.read(names[-1]), values[names[-1]])


@pytest.mark.parametrize("lengths", [[], [4], [3, 1]])
def test_no_rows_one_row_and_rows_without_entries(tmp_path, lengths):
    store, values = store_of_many(tmp_path / "s", lengths)
    assert list(store.missing()) == []
    for name, expected in values.items():
        assert store.read(name).shape == expected.shape
        assert np.array_equal(store.read(name), expected)
    assert sum(len(rows) for rows, _ in store.chunks(["a", "nothing"])) == len(lengths)


def test_arrays_of_one_shape_lie_in_one_file_a_chunk(tmp_path):
    store_of_many(tmp_path / "s")
    files = {p.relative_to(tmp_path / "s").parts[0] for p in (tmp_path / "s").rglob("c/1/**/0")}
    assert files == {"float32-2x2", "float32-3", "half-3"}


def test_zarr_reads_the_store_and_writes_the_same_bytes(tmp_path):
    _, values = store_of_many(tmp_path / "s")
    order = zarr.open_group(str(tmp_path / "s"), mode="r")["order"][:]
    assert sorted(order) == list(range(7))
    shutil.copytree(tmp_path / "s", tmp_path / "by-zarr")
    ours, theirs = (zarr.open_group(str(tmp_path / s), mode="r+") for s in ("s", "by-zarr"))
    seen = []
    for name in sorted(p.parent.name for p in (tmp_path / "s").glob("*-*/zarr.json")):
        array = ours[name]
        for number, column in enumerate(array.attrs["names"]):
            seen.append(column)
            assert np.array_equal(array[:, number], values[column][order])
        shutil.rmtree(tmp_path / "by-zarr" / name / "c", ignore_errors=True)
        theirs[name][:] = array[:]
    assert sorted(seen) == sorted(values)
    assert tree(tmp_path / "by-zarr") == tree(tmp_path / "s")


def test_the_manifest_does_not_grow_with_the_rows(tmp_path):
    sizes = []
    for rows in (10, 1000):
        store_of_many(tmp_path / str(rows), [3] * rows, chunk_rows=100)
        sizes.append((tmp_path / str(rows) / "manifest.json").stat().st_size)
    assert sizes[1] - sizes[0] < 10


def test_reading_in_pieces_holds_a_few_of_them_and_leaves_no_thread(tmp_path):
    arrays, rows = [SignalArray("w", (1_000_000,), half=True)], 40
    plan = make_plan([3] * rows, chunk_rows=2)
    ids = tuple(map(str, range(rows)))
    store = SignalStore.create(tmp_path / "s", ids, (), arrays, plan, IDENTITY)
    ones = np.ones((2, 1_000_000), np.float32)
    for number in range(len(plan.chunks)):
        store.put(number, {"w": ones * number})
    tracemalloc.start()
    seen = [found["w"][0, 0] for _, found in store.chunks(["w"])]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == list(range(20))
    assert peak < 80e6 < sum(8e6 for _ in plan.chunks)
    for _ in store.chunks(["w"]):
        break
    assert not [t for t in threading.enumerate() if t.name.startswith("wherefrom-read")]


def test_memory_is_used_again_only_when_no_array_lies_in_it():
    buffers, held = Buffers(), []
    for number in range(20):
        found = buffers.take(4000)
        found[:] = number
        # of many kinds: a view of a view, of another type, of no entries but the last, torch's own
        views = (found[10:][5:], found.view("f4").reshape(10, 100)[3], found[-1:])
        held.append((*views, torch.from_numpy(found))[number % 4])
        del found, views
        buffers.take(4000)[:] = 99
    for number, view in enumerate(held):
        assert (np.asarray(view).view("u1") == number).all()
    where = buffers.take(4000).ctypes.data
    anothers = np.empty(4000, np.uint8)
    assert anothers.ctypes.data != where
    assert buffers.take(4000).ctypes.data == where
