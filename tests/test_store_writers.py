"""Several processes that write one store at the same time, and one of them killed."""

import multiprocessing
import os
import signal
import time

import numpy as np
import pytest

from test_store import IDENTITY, WANTED, chunk_of, create, filled, tree
from wherefrom.curvature import FactorSums
from wherefrom.errors import IdentityError, StoreError
from wherefrom.store import FactorStore, SignalStore, read_factors

CONTEXT = multiprocessing.get_context("fork")
CHUNKS = 4


def put_share(folder, missing, stop_at=None):
    """A process of its own; at `stop_at` it hangs with the chunk half written."""
    store = create(folder)
    for chunk in missing:
        if chunk == stop_at:
            os.fsync = lambda _: time.sleep(60)
        store.put(chunk, chunk_of(chunk))


def add_share(folder, part, missing):
    store = FactorStore(folder, CHUNKS, IDENTITY, part=part)
    for chunk in missing:
        store.add(chunk, sums_of(chunk))
    store.flush()


def started(target, *arguments):
    process = CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


def ended(processes):
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def test_two_processes_write_one_store_and_one_that_was_killed_is_made_good(tmp_path):
    folder = tmp_path / "shared"
    missing = create(folder).missing()
    other = started(put_share, folder, missing[1::2])
    killed = started(put_share, folder, missing[0::2], 2)
    end = time.monotonic() + 60
    while not list(folder.rglob("c/2/**/.*.partial")):
        assert killed.is_alive()
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(killed.pid, signal.SIGKILL)
    assert ended([other, killed]) == [0, -signal.SIGKILL]
    assert list(create(folder).missing()) == [2]
    with pytest.raises(StoreError, match="only 3 of 4 chunks are done"):
        SignalStore.open(folder)

    # taken up by another number of processes
    missing = create(folder).missing()
    assert ended([started(put_share, folder, missing[r::3]) for r in range(3)]) == [0, 0, 0]
    filled(tmp_path / "undisturbed")
    assert tree(folder) == tree(tmp_path / "undisturbed")
    for name, values in WANTED.items():
        assert np.array_equal(SignalStore.open(folder).read(name), values)


def test_a_process_that_joins_sees_what_the_others_did_and_disturbs_nothing(tmp_path):
    first = create(tmp_path / "s")
    first.put(0, chunk_of(0))
    second = create(tmp_path / "s")
    assert list(second.missing()) == [1, 2, 3]
    second.put(3, chunk_of(3))
    assert list(first.missing()) == [1, 2]
    with pytest.raises(IdentityError):
        create(tmp_path / "s", IDENTITY | {"model": "other"})
    assert list(first.missing()) == [1, 2]


def sums_of(chunk):
    rng = np.random.default_rng(chunk)
    found = FactorSums()
    for block in ("v", "w"):
        found.add(block, rng.normal(size=(2, 2)), rng.normal(size=(3, 3)), chunk + 1)
    found.rows = 2
    return found


def same(found, exactly=False):
    expected = FactorSums()
    for chunk in range(CHUNKS):
        expected.merge(sums_of(chunk))
    wanted, given = expected.arrays(), found.arrays()
    assert wanted.keys() == given.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(given[name], values, rtol=0 if exactly else 1e-12)


def test_parts_of_two_processes_add_up_to_the_factors_of_one(tmp_path):
    folder = tmp_path / "f"
    missing = FactorStore(folder, CHUNKS, IDENTITY).missing()
    assert ended([started(add_share, folder, r, missing[r::2]) for r in range(2)]) == [0, 0]
    same(read_factors(folder))
    once = {k: v.tobytes() for k, v in read_factors(folder).arrays().items()}
    assert once == {k: v.tobytes() for k, v in read_factors(folder).arrays().items()}
    same(FactorStore(folder, CHUNKS, IDENTITY, part=1).sums)
    assert list(FactorStore(folder, CHUNKS, IDENTITY).missing()) == []


@pytest.mark.parametrize("later", [1, 3])
def test_another_number_of_writers_takes_the_factors_up(tmp_path, later):
    folder = tmp_path / "f"
    two = [FactorStore(folder, CHUNKS, IDENTITY, part=part) for part in range(2)]
    two[1].add(1, sums_of(1))
    two[1].flush()
    two[0].add(0, sums_of(0))
    # the first was killed before it wrote, so its chunk is to be made again
    with pytest.raises(StoreError, match="3 chunks to go"):
        read_factors(folder)
    writers = [FactorStore(folder, CHUNKS, IDENTITY, part=part) for part in range(later)]
    missing = writers[0].missing()
    assert list(missing) == [0, 2, 3]
    for part, writer in enumerate(writers):
        for chunk in missing[part::later]:
            writer.add(chunk, sums_of(chunk))
        writer.flush()
    same(read_factors(folder))
    same(writers[0].sums)


def test_one_writer_ends_in_the_same_bytes_after_an_interruption(tmp_path):
    for chunk in range(CHUNKS):
        store = FactorStore(tmp_path / "stopped", CHUNKS, IDENTITY)
        assert list(store.missing()) == list(range(chunk, CHUNKS))
        # what a writer that was killed while it wrote left
        (tmp_path / "stopped" / ".part-0000.safetensors.0badcafe.partial").touch()
        store.add(chunk, sums_of(chunk))
        store.flush()
    add_share(tmp_path / "undisturbed", 0, range(CHUNKS))
    assert tree(tmp_path / "stopped") == tree(tmp_path / "undisturbed")
    same(read_factors(tmp_path / "stopped"), exactly=True)
    memory = FactorStore(None, CHUNKS, IDENTITY)
    for chunk in memory.missing():
        memory.add(chunk, sums_of(chunk))
    same(memory.sums, exactly=True)


def test_a_chunk_that_two_parts_hold_is_not_counted_twice(tmp_path):
    writers = [FactorStore(tmp_path / "f", 1, IDENTITY, part=part) for part in range(2)]
    for writer in writers:
        writer.add(0, sums_of(0))
    with pytest.raises(StoreError, match=r"two parts hold the same chunk.*--restart"):
        read_factors(tmp_path / "f")


def test_factors_of_something_else_are_refused_in_any_part_and_replaced_on_restart(tmp_path):
    add_share(tmp_path / "f", 1, [0])
    other = IDENTITY | {"model": "other"}
    with pytest.raises(IdentityError, match="model: "):
        FactorStore(tmp_path / "f", CHUNKS, other)
    store = FactorStore(tmp_path / "f", CHUNKS, other, restart=True)
    assert list(store.missing()) == [0, 1, 2, 3]


def test_a_damaged_part_and_a_folder_of_somebody_else_are_refused(tmp_path):
    add_share(tmp_path / "f", 0, [0])
    (tmp_path / "f" / "part-0000.safetensors").write_bytes(b"no factors")
    with pytest.raises(StoreError, match=r"damaged.*--restart"):
        FactorStore(tmp_path / "f", CHUNKS, IDENTITY)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes").write_text("mine")
    for restart in (False, True):
        with pytest.raises(StoreError, match="not made by wherefrom"):
            FactorStore(tmp_path / "theirs", CHUNKS, IDENTITY, restart=restart)
    assert [p.name for p in (tmp_path / "theirs").iterdir()] == ["notes"]
    with pytest.raises(StoreError, match="no Kronecker factors"):
        read_factors(tmp_path / "nowhere")
