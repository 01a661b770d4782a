"""Stores behind an fsspec URL: the same bytes, the same refusals, and nothing half put."""

import uuid

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from test_store import ARRAYS, IDENTITY, WANTED, create, fill, filled, tree
from wherefrom.atomic import OURS, atomic_path, read_json, remove_ours, write_json, write_text
from wherefrom.curvature import FactorSums
from wherefrom.errors import IdentityError, SettingError, StoreError
from wherefrom.place import place
from wherefrom.store import FactorStore, SignalStore, free_space, read_factors, require_space


@pytest.fixture
def bucket():
    """A remote folder that no other test sees."""
    found = place(f"memory://{uuid.uuid4().hex}")
    yield found
    if found.exists():
        found.fs.rm(found.path, recursive=True)


def objects(folder):
    start = len(folder.path.rstrip("/")) + 1
    found = folder.fs.find(folder.path)
    return {name[start:]: folder.fs.cat_file(name) for name in found}


def local(folder):
    return {str(name): data for name, data in tree(folder).items()}


def test_a_remote_store_holds_the_bytes_of_a_local_one(tmp_path, bucket):
    filled(tmp_path / "s")
    filled(bucket / "s")
    assert objects(bucket / "s") == local(tmp_path / "s")
    store = SignalStore.open(bucket / "s")
    assert store.ids == SignalStore.open(tmp_path / "s").ids
    for name, values in WANTED.items():
        assert np.array_equal(store.read(name), values)
    for rows, found in store.chunks(list(WANTED)):
        assert all(np.array_equal(found[name], WANTED[name][rows]) for name in WANTED)


def test_a_file_url_is_a_local_folder(tmp_path):
    folder = place(f"file://{tmp_path}/s")
    filled(folder)
    assert folder == tmp_path / "s"
    assert np.array_equal(SignalStore.open(tmp_path / "s").read("loss"), WANTED["loss"])


def test_a_remote_store_is_taken_up_where_it_stopped(tmp_path, bucket):
    fill(create(bucket / "s"), [2])
    with pytest.raises(StoreError, match="only 1 of 4 chunks are done"):
        SignalStore.open(bucket / "s")
    resumed = create(bucket / "s")
    assert list(resumed.missing()) == [0, 1, 3]
    fill(resumed)
    filled(tmp_path / "s")
    assert objects(bucket / "s") == local(tmp_path / "s")


@pytest.mark.parametrize("puts", range(1, 14, 2))
def test_a_connection_that_dies_anywhere_leaves_a_store_that_resumes(
    tmp_path, bucket, monkeypatch, puts
):
    whole, left = MemoryFileSystem.pipe_file, iter(range(puts))

    def dying(self, path, value, **options):
        if next(left, None) is None:
            raise ConnectionResetError("the peer went away")
        whole(self, path, value, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "pipe_file", dying)
        with pytest.raises((StoreError, ConnectionResetError), match="the peer went away"):
            filled(bucket / "s")
    filled(tmp_path / "s")
    fill(create(bucket / "s"))
    assert objects(bucket / "s") == local(tmp_path / "s")


def test_a_remote_store_of_something_else_is_refused_and_replaced_on_restart(bucket):
    filled(bucket / "s")
    with pytest.raises(IdentityError, match="adapter: the store memory://"):
        create(bucket / "s", IDENTITY | {"adapter": "other"})
    store = create(bucket / "s", IDENTITY | {"adapter": "other"}, restart=True)
    assert list(store.missing()) == [0, 1, 2, 3]
    fill(store, [0])
    assert len([name for name in objects(bucket / "s") if name.startswith("float32")]) == 2 + 2


@pytest.mark.parametrize("restart", [False, True])
def test_a_remote_folder_of_somebody_else_is_never_deleted(bucket, restart):
    write_text(bucket / "thesis" / "chapter1.txt", "years of work")
    for make in (
        lambda: create(bucket / "thesis", restart=restart),
        lambda: FactorStore(bucket / "thesis", 2, IDENTITY, restart=restart),
        lambda: remove_ours(bucket / "thesis"),
    ):
        with pytest.raises(StoreError, match="not made by wherefrom"):
            make()
    assert objects(bucket / "thesis") == {"chapter1.txt": b"years of work"}


def test_a_remote_folder_beside_ours_is_left_when_ours_is_removed(bucket):
    filled(bucket / "s")
    write_text(bucket / "s2", "another's")
    remove_ours(bucket / "s")
    assert objects(bucket) == {"s2": b"another's"}


@pytest.mark.parametrize("name", WANTED)
def test_a_damaged_remote_chunk_is_found(bucket, name):
    filled(bucket / "s")
    for path in [p for p in objects(bucket / "s") if "/c/1/" in p]:
        raw = bytearray((bucket / "s" / path).read_bytes())
        raw[1] ^= 4
        bucket.fs.pipe_file((bucket / "s" / path).path, bytes(raw))
    with pytest.raises(StoreError, match=r"damaged.*--restart"):
        SignalStore.open(bucket / "s").read(name)


def test_a_remote_chunk_that_is_gone_or_cannot_be_reached_is_told_apart(bucket, monkeypatch):
    filled(bucket / "s")
    store = SignalStore.open(bucket / "s")

    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "cat_file", unreachable)
        with pytest.raises(StoreError, match=r"cannot be read \(no route to host\)"):
            store.read("tokens")
    chunk = next(p for p in objects(bucket / "s") if p.startswith("int64") and "/c/1" in p)
    bucket.fs.rm((bucket / "s" / chunk).path)
    with pytest.raises(StoreError, match="chunk 1 of tokens is missing"):
        store.read("tokens")


def sums(value):
    found = FactorSums()
    found.add("w", np.full((2, 2), value), np.full((3, 3), -value), 4)
    found.rows = 1
    return found


def test_remote_factors_resume_and_add_up(bucket):
    first = FactorStore(bucket / "f", 3, IDENTITY)
    first.add(0, sums(1.0))
    first.flush()
    with pytest.raises(StoreError, match="2 chunks to go"):
        read_factors(bucket / "f")
    second = FactorStore(bucket / "f", 3, IDENTITY)
    assert list(second.missing()) == [1, 2]
    for chunk in second.missing():
        second.add(chunk, sums(2.0))
    assert set(objects(bucket / "f")) == {OURS, "part-0000.safetensors"}
    assert read_factors(bucket / "f").sums["w"][0][0, 0] == 5
    with pytest.raises(IdentityError, match="model: the factors in memory://"):
        FactorStore(bucket / "f", 3, IDENTITY | {"model": "m2"})


def test_a_remote_file_is_put_whole_or_not_at_all(bucket):
    write_json(bucket / "a" / "x.json", {"kept": 1})

    def interrupted():
        with atomic_path(bucket / "a" / "x.json") as temporary:
            temporary.write_text('{"kept": ')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert read_json(bucket / "a" / "x.json") == {"kept": 1}
    with atomic_path(bucket / "a" / "x.json") as temporary:
        temporary.write_text('{"kept": 2}')
    assert read_json(bucket / "a" / "x.json") == {"kept": 2}


def test_an_object_store_that_does_not_tell_its_free_space_passes(bucket):
    assert free_space(bucket) == float("inf")
    require_space(bucket, 10**18)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://key:topsecret@bucket/run", "password"),
        ("ftp://me:topsecret@host/run", "password"),
        ("nosuch://bucket/run", "nosuch://: .*Install the package"),
    ],
)
def test_a_place_that_cannot_be_is_refused_without_what_is_secret(url, reason):
    with pytest.raises(SettingError, match=reason) as caught:
        place(url)
    assert "topsecret" not in str(caught.value)
    assert "key" not in str(caught.value)


def test_arrays_are_named_in_what_a_remote_store_lacks(bucket):
    with pytest.raises(StoreError, match=f"holds no w; it has {ARRAYS[0].name}"):
        filled(bucket / "s").read("w")
