"""Signals on disk: whole or absent, of one identity, and never anybody else's folder."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from wherefrom.atomic import OURS
from wherefrom.data import TokenRow, plan_batches
from wherefrom.errors import IdentityError, StoreError
from wherefrom.signals import Block, SignalArray
from wherefrom.store import SignalStore, require_space

LENGTHS = [9, 3, 7, 5, 3, 8, 2]
IDS = tuple(f"row{i}" for i in range(len(LENGTHS)))
BLOCKS = (Block("w", (2, 3)),)
ARRAYS = (
    SignalArray("loss", ()),
    SignalArray("tokens", (), "int64"),
    SignalArray("gradient/w", (2, 3)),
)
IDENTITY = {"model": "m1", "adapter": "a1", "rows": "r1"}


def token_row(index, length):
    ones = np.ones(length, dtype=bool)
    return TokenRow(f"row{index}", np.arange(length), ones, ones, ones, 0)


def make_plan(lengths=LENGTHS, chunk_rows=2):
    rows = [token_row(i, n) for i, n in enumerate(lengths)]
    return plan_batches(rows, batch_tokens=16, chunk_rows=chunk_rows)


PLAN = make_plan()
WANTED = {
    "loss": np.arange(7, dtype=np.float32) * 1.5,
    "tokens": np.array(LENGTHS),
    "gradient/w": np.random.default_rng(0).normal(size=(7, 2, 3)).astype(np.float32),
}


def create(folder, identity=IDENTITY, plan=PLAN, arrays=ARRAYS, **options):
    return SignalStore.create(folder, IDS, BLOCKS, arrays, plan, identity, **options)


def chunk_of(number, plan=PLAN):
    rows = plan.order[[i for batch in plan.chunks[number] for i in batch]]
    return {name: values[rows] for name, values in WANTED.items()}


def fill(store, chunks=None):
    for number in store.missing() if chunks is None else chunks:
        store.put(number, chunk_of(number))
    return store


def filled(folder):
    return fill(create(folder))


GROUPS = {"loss": "float32-number", "tokens": "int64-number", "gradient/w": "float32-2x3"}


def chunk_files(folder, name):
    return sorted(p for p in (folder / GROUPS[name] / "c").rglob("*") if p.is_file())


def tree(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_what_is_put_comes_back_in_the_order_of_the_data_set(tmp_path):
    filled(tmp_path / "s.zarr")
    store = SignalStore.open(tmp_path / "s.zarr")
    for name, values in WANTED.items():
        read = store.read(name)
        assert read.dtype == values.dtype
        assert np.array_equal(read, values)
    assert (store.ids, store.blocks, store.identity) == (IDS, BLOCKS, IDENTITY)
    assert store.names() == ("loss", "tokens", "gradient/w")


def test_the_plan_really_reorders_rows_and_has_a_shorter_last_chunk():
    assert PLAN.order.tolist() != sorted(PLAN.order)
    assert [sum(map(len, chunk)) for chunk in PLAN.chunks] == [2, 2, 2, 1]


def test_a_resumed_store_asks_for_the_missing_chunks_only_and_ends_in_the_same_bytes(tmp_path):
    fill(create(tmp_path / "stopped"), [0, 2])
    resumed = create(tmp_path / "stopped")
    assert list(resumed.missing()) == [1, 3]
    fill(resumed)
    assert list(create(tmp_path / "stopped").missing()) == []
    filled(tmp_path / "undisturbed")
    assert tree(tmp_path / "stopped") == tree(tmp_path / "undisturbed")


def test_a_chunk_without_its_marker_is_missing_even_where_its_arrays_are_there(tmp_path):
    store = filled(tmp_path / "s")
    (tmp_path / "s" / "done" / "000001").unlink()
    assert list(create(tmp_path / "s").missing()) == [1]
    fill(store, [1])
    assert np.array_equal(SignalStore.open(tmp_path / "s").read("loss"), WANTED["loss"])


@pytest.mark.parametrize("entry", ["model", "adapter"])
def test_signals_of_something_else_are_refused_with_both_sides_printed(tmp_path, entry):
    filled(tmp_path / "s")
    with pytest.raises(IdentityError) as caught:
        create(tmp_path / "s", IDENTITY | {entry: "other"})
    message = str(caught.value)
    assert f"{entry}: the store {tmp_path / 's'} has {IDENTITY[entry]!r}" in message
    assert "this job has 'other'" in message
    assert "--restart" in message
    assert len(message.splitlines()) == 3


def test_another_batch_plan_or_other_arrays_are_refused(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(IdentityError, match="batch plan"):
        create(tmp_path / "s", plan=make_plan(chunk_rows=3))
    with pytest.raises(IdentityError, match=r"signals: .* has 3, this job has 2"):
        create(tmp_path / "s", arrays=ARRAYS[:2])


def test_an_entry_that_one_side_lacks_is_refused(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(IdentityError, match=r"template: .* has None, this job has 'chat'"):
        create(tmp_path / "s", IDENTITY | {"template": "chat"})


def test_restart_replaces_a_store_of_ours(tmp_path):
    filled(tmp_path / "s")
    store = create(tmp_path / "s", IDENTITY | {"model": "other"}, restart=True)
    assert list(store.missing()) == [0, 1, 2, 3]
    assert store.identity["model"] == "other"


@pytest.mark.parametrize("restart", [False, True])
def test_a_folder_of_somebody_else_is_never_deleted(tmp_path, restart):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter1.txt").write_text("years of work")
    with pytest.raises(StoreError, match="not made by wherefrom"):
        create(folder, restart=restart)
    assert tree(folder).keys() == {(folder / "chapter1.txt").relative_to(folder)}


def test_a_foreign_folder_with_a_manifest_of_its_own_is_left_alone(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"name": "web app"}))
    for restart in (False, True):
        with pytest.raises(StoreError):
            create(folder, restart=restart)
    assert (folder / "manifest.json").is_file()


@pytest.mark.parametrize("leftover", [(), (OURS,), (OURS, "loss/zarr.json")])
def test_what_a_killed_run_left_half_made_does_not_block_the_next(tmp_path, leftover):
    folder = tmp_path / "s"
    folder.mkdir()
    for name in leftover:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")
    assert np.array_equal(filled(folder).read("loss"), WANTED["loss"])


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("place", [0, -1])
def test_a_flipped_bit_on_disk_is_found(tmp_path, name, place):
    filled(tmp_path / "s")
    path = chunk_files(tmp_path / "s", name)[1]
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(raw)
    store = SignalStore.open(tmp_path / "s")
    with pytest.raises(StoreError, match=r"damaged.*--restart"):
        store.read(name)


def test_a_truncated_chunk_is_found(tmp_path):
    filled(tmp_path / "s")
    path = chunk_files(tmp_path / "s", "gradient/w")[0]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match="damaged"):
        SignalStore.open(tmp_path / "s").read("gradient/w")


def test_an_unfinished_store_is_refused_for_reading(tmp_path):
    fill(create(tmp_path / "s"), [0])
    with pytest.raises(StoreError, match=r"only 1 of 4 chunks are done.*wherefrom index"):
        SignalStore.open(tmp_path / "s")
    assert list(SignalStore.open(tmp_path / "s", finished=False).missing()) == [1, 2, 3]


def test_no_store_a_damaged_manifest_and_another_format_are_told_apart(tmp_path):
    with pytest.raises(StoreError, match=r"no signals here.*wherefrom index"):
        SignalStore.open(tmp_path / "none")
    filled(tmp_path / "s")
    manifest = tmp_path / "s" / "manifest.json"
    whole = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(whole | {"format": 99}))
    with pytest.raises(StoreError, match="store format 99, this version reads 2"):
        SignalStore.open(tmp_path / "s")
    manifest.write_text('{"format": 2, ')
    with pytest.raises(StoreError, match=r"damaged.*--restart"):
        SignalStore.open(tmp_path / "s")


def test_an_array_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StoreError, match="holds no hidden/mean_all; it has loss"):
        filled(tmp_path / "s").read("hidden/mean_all")


def test_a_store_too_large_for_the_disk_is_refused_before_it_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=200))
    with pytest.raises(StoreError) as caught:
        create(tmp_path / "s")
    assert "would take" in str(caught.value)
    for way in ("--signals", "--half", "--policy projected", "fewer rows", "--blocks"):
        assert way in str(caught.value)
    assert not (tmp_path / "s").exists()


def test_space_that_a_half_written_store_takes_already_counts_when_it_resumes(
    tmp_path, monkeypatch
):
    fill(create(tmp_path / "s"), [0, 1, 2])
    rest = sum(p.stat().st_size for name in GROUPS for p in chunk_files(tmp_path / "s", name)[:1])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * rest))
    fill(create(tmp_path / "s"))
    assert len(SignalStore.open(tmp_path / "s").ids) == 7
    with pytest.raises(StoreError, match="would take"):
        create(tmp_path / "another")
    held = sum(p.stat().st_size for p in (tmp_path / "s").rglob("*") if p.is_file())
    require_space(tmp_path / "s", held + rest)
    with pytest.raises(StoreError, match=r"of it already there, but .* are free"):
        require_space(tmp_path / "s", held + 2 * rest)


def test_changed_rows_of_the_same_lengths_are_refused(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(IdentityError, match=r"rows: .* has 'r1', this job has 'r2'"):
        create(tmp_path / "s", IDENTITY | {"rows": "r2"})


def test_a_chunk_file_that_is_gone_does_not_read_as_zeros(tmp_path):
    filled(tmp_path / "s")
    chunk_files(tmp_path / "s", "loss")[1].unlink()
    with pytest.raises(StoreError, match=r"chunk 1 of loss is missing.*--restart"):
        SignalStore.open(tmp_path / "s").read("loss")


def test_chunks_of_zeros_are_there(tmp_path):
    store = create(tmp_path / "s")
    for number in store.missing():
        store.put(number, {n: np.zeros_like(v) for n, v in chunk_of(number).items()})
    assert not SignalStore.open(tmp_path / "s").read("gradient/w").any()


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("manifest.json", "[]"),
        ("manifest.json", '{"format":1}'),
        ("order/c/0", None),
        ("order/c/0", "seven rows"),
        ("done", None),
    ],
    ids=str,
)
def test_a_damaged_store_says_so_and_names_the_way_out(tmp_path, file, text):
    filled(tmp_path / "s")
    path = tmp_path / "s" / file
    if text is not None:
        path.write_text(text)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(StoreError, match="--restart"):
        SignalStore.open(tmp_path / "s").read("loss")


def test_what_a_writer_that_was_killed_in_a_chunk_left_is_gone_in_the_end(tmp_path):
    store = fill(create(tmp_path / "stopped"), [0])
    fill(store, [1])
    (tmp_path / "stopped" / "done" / "000001").unlink()
    whole = chunk_files(tmp_path / "stopped", "gradient/w")[1]
    whole.rename(whole.with_name(f".{whole.name}.0badcafe.partial"))
    fill(create(tmp_path / "stopped"))
    filled(tmp_path / "undisturbed")
    assert tree(tmp_path / "stopped") == tree(tmp_path / "undisturbed")


@pytest.mark.parametrize("wrong", ["one is missing", "one is unknown", "one has other rows"])
def test_a_chunk_that_does_not_fit_is_not_written(tmp_path, wrong):
    store, chunk = create(tmp_path / "s"), chunk_of(0)
    if wrong == "one is missing":
        del chunk["loss"]
    elif wrong == "one is unknown":
        chunk["loss2"] = chunk["loss"]
    else:
        chunk["loss"] = chunk["loss"][:1]
    with pytest.raises(ValueError, match="chunk 0 must be"):
        store.put(0, chunk)
    assert 0 in store.missing()


def test_a_full_disk_says_so_and_the_chunk_is_missing(tmp_path, monkeypatch):
    store = create(tmp_path / "s")

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("wherefrom.atomic.os.fsync", full)
        with pytest.raises(StoreError, match=r"chunk 0 could not be written \(No space left"):
            fill(store)
    assert list(store.missing()) == [0, 1, 2, 3]
    fill(store)
    assert np.array_equal(SignalStore.open(tmp_path / "s").read("loss"), WANTED["loss"])


def test_other_ids_shapes_or_precision_are_refused(tmp_path):
    filled(tmp_path / "s")
    with pytest.raises(IdentityError, match="ids: "):
        SignalStore.create(tmp_path / "s", IDS[::-1], BLOCKS, ARRAYS, PLAN, IDENTITY)
    wider = (*ARRAYS[:2], SignalArray("gradient/w", (3, 2)))
    with pytest.raises(IdentityError, match="arrays: "):
        create(tmp_path / "s", arrays=wider)
    halved = (*ARRAYS[:2], SignalArray("gradient/w", (2, 3), half=True))
    with pytest.raises(IdentityError, match=r"half precision: .* has False, this job has True"):
        create(tmp_path / "s", arrays=halved)
