"""Half precision with a scale for every row: what comes back, how exactly, and to whom."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from zarr.registry import get_codec_class
from zarr.storage import MemoryStore

from test_store import IDENTITY, make_plan
from wherefrom.errors import NonFiniteError
from wherefrom.signals import MemorySignals, SignalArray
from wherefrom.store import SignalStore
from wherefrom.store._half import decode_half, encode_half, half_bytes

LARGEST = float(np.finfo(np.float32).max)
FLOATS = st.floats(-LARGEST, LARGEST, width=32)
MATRICES = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FLOATS)


def encoded(values):
    out = np.full(half_bytes(*values.shape), 7, np.uint8)
    encode_half(values, out)
    return out


def there_and_back(values):
    out = np.full((1, *values.shape), np.nan, np.float32)
    decode_half(encoded(values)[None], out)
    return out[0]


def oracle(values):
    """float64: every row over the power of two that brings its largest entry below 2^15."""
    exact = values.astype(np.float64)
    largest = np.abs(exact).max(1)
    exponents = np.where(largest > 0, np.floor(np.log2(np.maximum(largest, 1e-300))) - 14, 0)
    scales = np.exp2(np.maximum(exponents, -126))[:, None]
    # 11 digits; float16's last place below 2^-14 is 2^-24, and its largest below 2^15 is 32752
    digits = np.exp2(np.floor(np.log2(np.maximum(np.abs(exact / scales), 2**-14))) - 10)
    rounded = np.rint(exact / scales / digits) * digits * scales
    return np.where(np.abs(rounded) > LARGEST, np.sign(rounded) * 32752 * scales, rounded)


@given(MATRICES)
def test_it_is_what_float64_says(values):
    assert np.array_equal(there_and_back(values), oracle(values))


@given(MATRICES, st.sampled_from([1e-30, 1e-15, 1.0, 1e15, 1e30]))
def test_entries_keep_eleven_digits_down_to_a_billionth_of_their_row(values, magnitude):
    largest = np.abs(values).max(1, keepdims=True)
    with np.errstate(all="ignore"):
        values = np.where(largest > 0, values / largest * magnitude, 0).astype(np.float32)
    exact, found = values.astype(np.float64), there_and_back(values).astype(np.float64)
    largest = np.abs(exact).max(1, keepdims=True)
    assert (np.abs(found - exact) <= np.maximum(np.abs(exact) * 2**-11, largest * 2**-39)).all()
    kept = np.abs(exact) >= largest * 2**-28
    assert (np.abs(found - exact) <= np.abs(exact) * 2**-11)[kept].all()


@given(MATRICES)
def test_what_came_back_once_comes_back_the_same(values):
    once = there_and_back(values)
    assert np.array_equal(there_and_back(once), once)


@given(MATRICES, st.data())
def test_a_row_does_not_depend_on_those_around_it(values, data):
    order = data.draw(st.permutations(range(len(values))))
    assert np.array_equal(there_and_back(values[order]), there_and_back(values)[order])
    alone = [there_and_back(row[None])[0] for row in values]
    assert np.array_equal(there_and_back(values), alone)


def test_rows_of_very_different_magnitudes_do_not_disturb_each_other():
    row = np.random.default_rng(0).normal(size=50)
    values = np.stack([row * m for m in (1e-30, 1e30, 0, 1, 1e-38)]).astype(np.float32)
    found = there_and_back(values)
    assert not found[2].any()
    np.testing.assert_allclose(found, values, rtol=2**-11)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_inf_are_refused_with_their_row(bad):
    values = np.ones((3, 4), np.float32)
    values[1, 2] = bad
    with pytest.raises(NonFiniteError, match="row 1 "):
        encoded(values)


def test_only_float32_has_a_half_and_a_row_counts_what_is_stored():
    assert SignalArray("w", (4, 5), half=True).row_bytes == 4 + 2 * 20
    assert SignalArray("w", (4, 5)).row_bytes == 4 * 20
    assert SignalArray("w", (0,), half=True).row_bytes == 0
    with pytest.raises(ValueError, match="only float32"):
        SignalArray("tokens", (), "int64", half=True)


ROWS = 9
HALF = (SignalArray("w", (4, 6), half=True), SignalArray("v", (4, 6), half=True))


def put_in(store, plan, values):
    for number, chunk in enumerate(plan.chunks):
        rows = plan.order[[i for batch in chunk for i in batch]]
        negative = -values[rows]
        negative.flags.writeable = False
        store.put(number, {"w": values[rows], "v": negative})
    return store


def half_store(folder):
    plan = make_plan([5, 3, 4] * 3, chunk_rows=4)
    values = np.random.default_rng(0).normal(size=(ROWS, 4, 6)).astype(np.float32)
    store = SignalStore.create(folder, tuple(map(str, range(ROWS))), (), HALF, plan, IDENTITY)
    return put_in(store, plan, values), values


def test_a_store_in_half_precision_gives_float32_and_takes_what_a_row_counts(tmp_path):
    with warnings.catch_warnings(action="error"):
        store, values = half_store(tmp_path / "s")
    wanted = there_and_back(values.reshape(ROWS, -1)).reshape(values.shape)
    assert not np.array_equal(wanted, values)
    assert store.read("w").dtype == np.float32
    assert np.array_equal(store.read("w"), wanted)
    for rows, found in store.chunks(["v", "w"]):
        assert np.array_equal(found["w"], wanted[rows])
        assert np.array_equal(found["v"], -wanted[rows])
    first = next(p for p in (tmp_path / "s").rglob("c/0/**/*") if p.is_file())
    sections = sum(4 * array.row_bytes + 4 for array in HALF)
    assert first.stat().st_size == sections + 16 * len(HALF) + 4


def test_zarr_reads_float32_by_the_codec_and_finds_a_flipped_bit(tmp_path):
    store, _ = half_store(tmp_path / "s")
    array = zarr.open_group(str(tmp_path / "s"), mode="r")["half-4x6"]
    assert array.dtype == np.float32
    order = zarr.open_group(str(tmp_path / "s"), mode="r")["order"][:]
    assert np.array_equal(array[:, 0], store.read("w")[order])
    assert np.array_equal(array[2:7, 1, 1:3], store.read("v")[order][2:7, 1:3])
    for path in (tmp_path / "s" / "half-4x6").rglob("c/0/**/0"):
        if path.is_file():
            raw = bytearray(path.read_bytes())
            raw[3] ^= 1
            path.write_bytes(raw)
    with pytest.raises(ValueError, match="checksum"):
        array[0, 0]


def test_the_codec_tells_zarr_how_long_a_chunk_gets():
    codec, stored = get_codec_class("wherefrom.half")(), {}
    array = zarr.create_array(
        MemoryStore(stored), shape=(5, 3), dtype="float32", serializer=codec, compressors=None
    )
    array[:] = np.arange(15).reshape(5, 3)
    assert len(stored["c/0/0"]) == half_bytes(5, 3)
    assert codec.compute_encoded_size(5 * 3 * 4, SimpleNamespace(shape=(5, 3))) == half_bytes(5, 3)


def test_memory_keeps_float32():
    plan = make_plan([5, 3, 4] * 3, chunk_rows=4)
    values = np.random.default_rng(0).normal(size=(ROWS, 4, 6)).astype(np.float32)
    sizes = [sum(map(len, chunk)) for chunk in plan.chunks]
    ids = tuple(map(str, range(ROWS)))
    memory = put_in(MemorySignals(ids, (), HALF, plan.order, sizes, IDENTITY), plan, values)
    assert np.array_equal(memory.read("w"), values)
