"""Products kept in place of gradients: the store, making it within a budget, and scores from it."""

from dataclasses import replace

import numpy as np
import pytest

from drawn import BLOCKS, MEAN, NONZERO, A, dense, evidence
from wherefrom.curvature import GramBlock
from wherefrom.errors import IdentityError, NonFiniteError, SettingError, StoreError
from wherefrom.methods import Evidence, Point, parse_method, score_all, select_methods
from wherefrom.signals import Policy, Side
from wherefrom.signals import gradient_name as g
from wherefrom.store import GramStore, reduce_to_grams

N = 13
SPECS = [m.spec for m in select_methods(["all"]) if Policy.GRAM in m.policies and m.needs]
ON_PRODUCTS = [s for s in SPECS if parse_method(s).needs <= parse_method("influence").needs]
MODIFIED = (
    "influence(centre=true, whiten=1.0, normalise=row)",
    "influence(scope=whole, centre=true)",
    "gradient_dot(aggregate=rank)",
    "relative_influence(normalise=block, layers=last1)",
    "conjugate_gradient(tolerance=1e-8)",
)


def sides(ev):
    return ev.final.source(Side.TRAIN), ev.final.source(Side.QUERY)


def without_gradients(ev, store):
    return Evidence(ev.train_rows, ev.query_rows, ev.recipe, Point("final", {}, products=store))


def per_row(block):
    return 12 * block.size


def fixed(n, q):
    return 8 * (2.5 * n * n + 2 * q * n)


@pytest.mark.parametrize("recipe", [MEAN, NONZERO])
def test_scores_from_products_are_those_from_gradients(recipe, tmp_path):
    ev = evidence(recipe, n=N)
    store = reduce_to_grams(*sides(ev), tmp_path / "products", quiet=True)
    assert len(ON_PRODUCTS) > 8
    for spec in (*ON_PRODUCTS, *MODIFIED):
        m = parse_method(spec)
        (want,) = score_all([m], ev, quiet=True).scores
        (got,) = score_all([m], without_gradients(ev, store), quiet=True).scores
        scale = np.abs(want.values).max()
        np.testing.assert_allclose(got.values, want.values, rtol=1e-6, atol=1e-6 * scale)


@pytest.mark.parametrize("rows", [1, 4, 12, 13, 100])
def test_any_budget_gives_the_products_of_dense_gradients(rows, tmp_path):
    ev = evidence(n=N)
    q = len(ev.query_rows)
    widest = max(BLOCKS, key=per_row)
    memory = fixed(N, q) + per_row(widest) * (q + rows)
    store = reduce_to_grams(*sides(ev), tmp_path / "products", memory, quiet=True)
    for block, (train, query) in zip(BLOCKS, dense(ev.final), strict=True):
        got = store.gram(block.name)
        np.testing.assert_allclose(got.gram, train @ train.T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got.cross, query @ train.T, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(got.query_norms, (query**2).sum(1), rtol=1e-12)
        assert np.array_equal(got.gram, got.gram.T)
        assert got.size == block.size


def test_a_budget_that_cannot_hold_one_row_is_refused_before_anything_is_written(tmp_path):
    ev = evidence(n=N)
    with pytest.raises(StoreError, match=r"13 rows take .* --policy projected"):
        reduce_to_grams(*sides(ev), tmp_path / "products", fixed(N, 4), quiet=True)
    assert not (tmp_path / "products").exists()


def test_an_interrupted_job_goes_on_and_ends_in_the_same_bytes(tmp_path, monkeypatch):
    ev = evidence(n=N)
    whole = reduce_to_grams(*sides(ev), tmp_path / "whole", quiet=True)
    put, done = GramStore.put, []

    def dies(self, block, gram):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(block)
        put(self, block, gram)

    monkeypatch.setattr(GramStore, "put", dies)
    with pytest.raises(KeyboardInterrupt):
        reduce_to_grams(*sides(ev), tmp_path / "cut", quiet=True)
    with pytest.raises(StoreError, match="only 1 of 3 blocks"):
        GramStore.open(tmp_path / "cut")
    again = []
    monkeypatch.setattr(GramStore, "put", lambda s, b, k: (again.append(b), put(s, b, k)))
    reduce_to_grams(*sides(ev), tmp_path / "cut", quiet=True)
    assert [*done, *again] == [block.name for block in BLOCKS]
    files = sorted(p.name for p in whole.folder.iterdir())
    assert files == sorted(p.name for p in (tmp_path / "cut").iterdir())
    for name in files:
        assert (whole.folder / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_other_queries_models_or_rows_are_refused(tmp_path):
    ev = evidence(n=N)
    train, query = sides(ev)
    train.identity |= {"model": "x", "rows": "t"}
    query.identity |= {"model": "x", "rows": "q"}
    reduce_to_grams(train, query, tmp_path / "products", quiet=True)
    query.identity["rows"] = "others"
    with pytest.raises(IdentityError, match=r"query rows.*'q'.*'others'[\s\S]*--restart"):
        reduce_to_grams(train, query, tmp_path / "products", quiet=True)
    reduce_to_grams(train, query, tmp_path / "products", restart=True, quiet=True)
    query.identity["model"] = "y"
    with pytest.raises(IdentityError, match=r"'x'.*'y'"):
        reduce_to_grams(train, query, tmp_path / "elsewhere", quiet=True)


def test_products_of_other_rows_or_another_model_are_not_scored(tmp_path):
    ev = evidence(n=N)
    store = reduce_to_grams(*sides(ev), tmp_path / "products", quiet=True)
    other = replace(without_gradients(ev, store), train_rows=ev.train_rows[1:])
    with pytest.raises(SettingError, match="other rows"):
        score_all([parse_method("influence")], other, quiet=True)
    ev.final.source(Side.TRAIN).identity["model"] = "y"
    store._manifest["identity"]["model"] = "x"
    both = replace(ev, final=replace(ev.final, products=store))
    with pytest.raises(IdentityError, match=r"'y'.*'x'"):
        score_all([parse_method("influence")], both, quiet=True)


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-8],
        lambda data: data[:-8] + b"\1" * 8,
        lambda data: b"",
        lambda data: b"\0" * 64,
    ],
)
def test_a_damaged_file_is_told(harm, tmp_path):
    ev = evidence(n=N)
    store = reduce_to_grams(*sides(ev), tmp_path / "products", quiet=True)
    path = sorted(store.folder.glob("*.safetensors"))[0]
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(StoreError, match=r"block-00000.*damaged.*--restart"):
        store.gram(A)
    (store.folder / "ids.json").write_text('{"train": [], "queries": []}')
    with pytest.raises(StoreError, match="ids were changed"):
        GramStore.open(store.folder)


def test_folders_of_others_and_missing_stores_are_told(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(StoreError, match="not made by wherefrom"):
        reduce_to_grams(*sides(evidence()), tmp_path, quiet=True)
    with pytest.raises(StoreError, match="no products here"):
        GramStore.open(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_nan_names_its_row_and_wrong_shapes_are_refused(tmp_path):
    ev = evidence(n=N)
    ev.final.source(Side.TRAIN).read(g(A))[5] = np.nan
    with pytest.raises(NonFiniteError, match=f"{A} of row '{ev.train_rows[5].id}'"):
        reduce_to_grams(*sides(ev), tmp_path / "products", quiet=True)
    store = GramStore.open(tmp_path / "products", finished=False)
    with pytest.raises(ValueError, match="products of"):
        store.put(A, GramBlock.of(np.ones((2, 12)), np.ones((1, 12))))


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("ekfac", "gradients themselves"),
        ("hyperinf", "gradients themselves"),
        ("logra", "to project"),
        ("contrastive", "reference answers"),
        ("influence(tokens=first5)", "other tokens"),
        ("influence(curvature=true)", "drawn labels"),
        ("influence(form=primal)", "primal form"),
    ],
)
def test_methods_that_need_more_than_products_are_refused(spec, why, tmp_path):
    ev = evidence(n=N)
    store = reduce_to_grams(*sides(ev), tmp_path / "products", quiet=True)
    m = parse_method(spec)
    assert Policy.GRAM not in m.policies
    assert why in m.refusal(Policy.GRAM)
    with pytest.raises(SettingError, match=f"{why}.*another policy"):
        score_all([m], without_gradients(ev, store), quiet=True)


def test_every_method_says_under_which_policies_it_can_be_scored():
    for m in select_methods(["all"]):
        assert Policy.EXACT in m.policies
    refused = {m.name for m in select_methods(["all"]) if Policy.PROJECTED not in m.policies}
    assert refused == {"kfac", "ekfac", "source", "less", "trackstar"}
    for policy in Policy:
        assert {"bm25", "repsim", "rept"} <= {
            m.name for m in select_methods(["all"]) if policy in m.policies
        }
