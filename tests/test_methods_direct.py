"""Methods on states, token errors and embeddings, each against a transcription in plain loops."""

import json
import math
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

import wherefrom.methods._dra
import wherefrom.methods._embedding
import wherefrom.methods._for_value
import wherefrom.methods._knn_shapley
import wherefrom.methods._rept  # noqa: F401
from tiny import save_tiny, tiny_rows
from wherefrom.data import get_recipe
from wherefrom.errors import SettingError
from wherefrom.methods import Evidence, Point, Resource, parse_method, registered
from wherefrom.signals import (
    POOLS,
    STATE_GRADIENT,
    TOKEN_ERROR,
    Kind,
    MemorySignals,
    Side,
    SignalArray,
    both,
)
from wherefrom.signals import hidden_name as h

N, Q, LAYERS, WIDTH, K = 9, 5, 4, 8, 3
ARRAYS = {h(pool): (LAYERS, WIDTH) for pool in POOLS} | {
    STATE_GRADIENT: (LAYERS, WIDTH),
    TOKEN_ERROR: (K, WIDTH),
}
SPECS = (
    "rept",
    "rept(halves=unit)",
    "rept(layer=-1)",
    "for_value",
    "for_value(similarity=dot)",
    "dra",
    "dra(by=all, share=0.3, position=mean_all, layer=2)",
    "knn_shapley",
    "knn_shapley(match=label, k=2)",
)


def signals(rows, seed):
    """Random signals whose chunks lie in another order than the rows."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(rows))
    cut = len(rows) // 3
    chunks = [order[:cut], order[cut:]]
    arrays = [SignalArray(name, shape) for name, shape in ARRAYS.items()]
    held = MemorySignals(tuple(r.id for r in rows), (), arrays, order, [len(c) for c in chunks], {})
    values = {name: rng.normal(size=(len(rows), *shape)) for name, shape in ARRAYS.items()}
    for number, chunk in enumerate(chunks):
        held.put(number, {name: array[chunk] for name, array in values.items()})
    return held


def evidence(n=N, q=Q, seed=0):
    rows = tiny_rows(n + q)
    return joined(rows[:n], rows[n:], signals(rows[:n], seed), signals(rows[n:], seed + 100))


def joined(train_rows, query_rows, train, query):
    final = Point("final", {Side.TRAIN: train, Side.QUERY: query})
    return Evidence(train_rows, query_rows, get_recipe("sound-1"), final)


def permuted(ev, side, order):
    """The same evidence with one side's rows in another order."""
    sides = {Side.TRAIN: ev.train_rows, Side.QUERY: ev.query_rows}
    sources = dict(ev.final.sources)
    sides[side] = [sides[side][i] for i in order]
    sources[side] = signals(sides[side], 7)
    for name in ARRAYS:
        sources[side].read(name)[:] = ev.final.source(side).read(name)[order]
    return joined(sides[Side.TRAIN], sides[Side.QUERY], sources[Side.TRAIN], sources[Side.QUERY])


def score(spec, ev):
    return parse_method(spec).score(ev)


def cosine(a, b):
    a, b = [float(x) for x in np.ravel(a)], [float(x) for x in np.ravel(b)]
    lengths = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 0.0


def table(train, query, of):
    return np.array([[of(t, q) for t in train] for q in query])


def close(got, want):
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("setting", "layer"), [("", 1), ("layer=0", 0), ("layer=-1", 3), ("layer=2", 2)]
)
def test_rept_is_the_cosine_of_state_and_gradient_end_to_end(setting, layer):
    ev = evidence()
    (ht, hq), (gt, gq) = ev.read(h("last_prompt")), ev.read(STATE_GRADIENT)
    train = [[*hs[layer], *gs[layer]] for hs, gs in zip(ht, gt, strict=True)]
    query = [[*hs[layer], *gs[layer]] for hs, gs in zip(hq, gq, strict=True)]
    close(score(f"rept({setting})", ev), table(train, query, cosine))


def test_rept_with_unit_halves_is_the_mean_of_both_cosines():
    ev = evidence()
    ev.final.source(Side.TRAIN).read(STATE_GRADIENT)[:] *= 1e-6
    (ht, hq), (gt, gq) = ev.read(h("last_prompt")), ev.read(STATE_GRADIENT)
    states = table(ht[:, 1], hq[:, 1], cosine)
    close(score("rept(halves=unit)", ev), (states + table(gt[:, 1], gq[:, 1], cosine)) / 2)
    # raw: next to a training gradient of no length, only the state is left to agree with
    assert np.all(np.abs(score("rept", ev)) < np.abs(states))


@pytest.mark.parametrize("n", [N, 70])
@pytest.mark.parametrize("q", [Q, 66])
def test_for_value_is_the_product_of_token_errors(n, q):
    ev = evidence(n, q)
    train, query = ev.read(TOKEN_ERROR)
    dot = table(train, query, lambda t, q: float(np.sum(t.astype(float) * q.astype(float))))
    close(score("for_value(similarity=dot)", ev), dot)
    close(score("for_value", ev), table(train, query, cosine))


def kept_dimensions(group, count):
    """The most consistent dimensions of a set of centred states, in plain loops."""
    order = []
    for dimension in range(len(group[0])):
        column = [float(row[dimension]) for row in group]
        mean = sum(column) / len(column)
        spread = math.sqrt(sum((x - mean) ** 2 for x in column) / len(column))
        order.append((-abs(mean) / (spread + 1e-9), dimension))
    return [dimension for _, dimension in sorted(order)[:count]]


@pytest.mark.parametrize(
    ("settings", "position", "layer", "count"),
    [
        ("", "last_prompt", -1, 4),
        ("share=0.01", "last_prompt", -1, 1),
        ("share=1, position=mean_response, layer=1", "mean_response", 1, 8),
        ("by=all, share=0.4", "last_prompt", -1, 3),
    ],
)
def test_dra_is_the_cosine_in_the_dimensions_that_a_set_shares(settings, position, layer, count):
    ev = evidence()
    train, query = (states[:, layer].astype(float) for states in ev.read(h(position)))
    mean = [sum(column) / N for column in train.T]
    train, query = train - mean, query - mean
    want = np.zeros((Q, N))
    labels = [row.label for row in ev.query_rows]
    assert len(set(labels)) == 3
    assert len(labels) == 5  # so that one set has one query, others two
    for a in range(Q):
        together = [b for b in range(Q) if "all" in settings or labels[b] == labels[a]]
        kept = kept_dimensions([query[b] for b in together], count)
        for i in range(N):
            want[a, i] = cosine(query[a][kept], train[i][kept])
    close(score(f"dra({settings})", ev), want)


def test_dra_takes_all_queries_together_where_one_has_no_label():
    ev = evidence()
    rows = [
        replace(row, label=None) if number == 2 else row for number, row in enumerate(ev.query_rows)
    ]
    together = score("dra(by=all)", ev)
    close(score("dra", replace(ev, query_rows=rows)), together)
    assert not np.allclose(score("dra", ev), together)


def test_a_row_at_the_mean_scores_nothing_under_dra():
    ev = evidence(3)
    states = ev.final.source(Side.TRAIN).read(h("last_prompt"))
    states[1], states[2] = -states[0], 0
    got = score("dra", ev)
    np.testing.assert_array_equal(got[:, 2], 0)
    assert np.all(got[:, 0] != 0)
    np.testing.assert_array_equal(score("dra", evidence(1)), np.zeros((Q, 1)))


def shapley(distances, matches, k):
    """Shapley values of the k nearest rows' summed match over k, by going through all subsets."""
    n = len(distances)

    def value(subset):
        nearest = sorted(subset, key=lambda j: (distances[j], -matches[j]))[:k]
        return sum(matches[j] for j in nearest) / k

    values = [0.0] * n
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for subset in combinations(others, size):
                values[i] += weight * (value((*subset, i)) - value(subset))
    return values


def knn_parts(ev, layer=-1):
    (near_t, near_q), (said_t, said_q) = ev.read(h("last_prompt")), ev.read(h("mean_response"))
    distances = np.round(1 - table(near_t[:, layer], near_q[:, layer], cosine), 9)
    return distances, np.maximum(0, table(said_t[:, -1], said_q[:, -1], cosine))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (1, 4), (3, 5), (5, 5), (6, 1), (7, 3), (7, 6)])
def test_knn_shapley_is_the_sum_over_all_subsets(n, k):
    ev = evidence(n, 2, seed=n)
    distances, matches = knn_parts(ev)
    want = [shapley(d, a, k) for d, a in zip(distances, matches, strict=True)]
    got = score(f"knn_shapley(k={k})", ev)
    close(got, want)
    for values, d, a in zip(got, distances, matches, strict=True):
        assert sum(values) == pytest.approx(sum(a[j] for j in np.argsort(d)[:k]) / k)
    near, _ = knn_parts(ev, layer=1)
    want = [shapley(d, a, k) for d, a in zip(near, matches, strict=True)]
    close(score(f"knn_shapley(k={k}, layer=1)", ev), want)


@pytest.mark.parametrize("k", [2, 9])
def test_knn_shapley_by_label_counts_equal_labels(k):
    ev = evidence(7, 3)
    rows = [
        replace(row, label=None) if number == 4 else row for number, row in enumerate(ev.train_rows)
    ]
    ev = replace(ev, train_rows=rows)
    distances, _ = knn_parts(ev)
    matches = [[float(t.label == q.label) for t in rows] for q in ev.query_rows]
    assert {sum(row) for row in matches} == {1, 2, 3}
    want = [shapley(d, a, k) for d, a in zip(distances, matches, strict=True)]
    close(score(f"knn_shapley(match=label, k={k})", ev), want)


def test_knn_shapley_counts_the_better_match_of_equally_near_rows_as_nearer():
    ev = evidence(7, 6)
    train = ev.final.source(Side.TRAIN)
    states, said = train.read(h("last_prompt")), train.read(h("mean_response"))
    # one direction at several lengths, all exact in float32: equally near but for the last bits
    states[0] = np.rint(100 * states[0])
    for row, length in [(1, 3), (2, 5), (4, 7), (5, 11)]:
        states[row] = length * states[0]
    said[4] = said[0]
    distances, matches = knn_parts(ev)
    assert all(len(set(d[[0, 1, 2, 4, 5]])) == 1 for d in distances)
    want = np.array([shapley(d, a, 2) for d, a in zip(distances, matches, strict=True)])
    got = score("knn_shapley(k=2)", ev)
    close(got, want)
    close(got[:, 0], got[:, 4])
    assert not np.allclose(got[:, 0], got[:, 1])


def test_knn_shapley_refuses_labels_that_are_not_there():
    ev = evidence()
    bare = [replace(row, label=None) for row in ev.query_rows]
    with pytest.raises(SettingError, match=rf"{bare[0].id}.*match=response"):
        score("knn_shapley(match=label)", replace(ev, query_rows=bare))
    bare = [replace(row, label=None) for row in ev.train_rows]
    with pytest.raises(SettingError, match="no training row has a label"):
        score("knn_shapley(match=label)", replace(ev, train_rows=bare))


@pytest.mark.parametrize("spec", SPECS)
def test_zero_rows_give_no_nan(spec):
    ev = evidence()
    for side in (Side.TRAIN, Side.QUERY):
        for name in ARRAYS:
            ev.final.source(side).read(name)[2] = 0
    got = score(spec, ev)
    assert np.isfinite(got).all()
    if spec.startswith(("rept", "for_value")):
        np.testing.assert_array_equal(got[:, 2], 0)
        np.testing.assert_array_equal(got[2], 0)
        assert np.count_nonzero(got) == (N - 1) * (Q - 1)
    if spec == "knn_shapley":
        want = [shapley(d, a, 5) for d, a in zip(*knn_parts(ev), strict=True)]
        close(got, want)


@pytest.mark.parametrize("spec", SPECS)
def test_duplicates_score_alike(spec):
    ev = evidence()
    for name in ARRAYS:
        ev.final.source(Side.TRAIN).read(name)[6] = ev.final.source(Side.TRAIN).read(name)[1]
    rows = list(ev.train_rows)
    rows[6] = replace(rows[6], label=rows[1].label)
    got = score(spec, replace(ev, train_rows=rows))
    close(got[:, 6], got[:, 1])
    assert not np.allclose(got[:, 1], got[:, 2])


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("side", [Side.TRAIN, Side.QUERY])
def test_the_order_of_rows_changes_nothing(spec, side):
    ev = evidence()
    order = np.random.default_rng(3).permutation(N if side is Side.TRAIN else Q)
    got, first = score(spec, permuted(ev, side, order)), score(spec, ev)
    close(got, first[:, order] if side is Side.TRAIN else first[order])


@pytest.mark.parametrize("spec", SPECS)
def test_one_training_row_is_enough(spec):
    got = score(spec, evidence(1))
    assert got.shape == (Q, 1)
    assert np.isfinite(got).all()


def test_needs_follow_from_what_is_read():
    hidden, slope = both(Kind.HIDDEN), both(Kind.STATE_GRADIENT)
    for name, needs, cost in [
        ("rept", hidden | slope, "one pass"),
        ("for_value", both(Kind.ERROR), "forward"),
        ("dra", hidden, "forward"),
        ("knn_shapley", hidden, "forward"),
        ("embedding", frozenset(), "text"),
    ]:
        assert parse_method(name).needs == needs
        assert parse_method(name).cost == cost
    assert [m.spec for m in registered()["rept"].variants()] == ["rept", "rept(halves=unit)"]
    found = [m.spec for m in registered()["for_value"].variants()]
    assert found == ["for_value", "for_value(similarity=dot)"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("rept(halves=whole)", "raw or unit"),
        ("for_value(similarity=l2)", "cosine or dot"),
        ("dra(position=here)", "last_prompt, mean_prompt"),
        ("dra(share=0)", "above 0 and at most 1"),
        ("dra(share=1.5)", "above 0 and at most 1"),
        ("dra(share=nan)", "above 0 and at most 1"),
        ("dra(by=class)", "label or all"),
        ("knn_shapley(k=0)", "1 or more"),
        ("knn_shapley(match=text)", "response or label"),
        ("knn_shapley(position=here)", "last_prompt, mean_prompt"),
        ("embedding(text=answer)", "both, prompt or response"),
    ],
)
def test_settings_that_mean_nothing_are_refused(spec, told):
    with pytest.raises(SettingError, match=told):
        parse_method(spec)


@pytest.mark.parametrize("name", ["rept", "dra", "knn_shapley"])
@pytest.mark.parametrize("layer", [4, -5])
def test_layers_that_are_not_there_are_refused(name, layer):
    with pytest.raises(SettingError, match=rf"layer {layer} is not among 0 to 3"):
        score(f"{name}(layer={layer})", evidence())


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    """A tiny sentence-transformers model in a folder, and the language model that it is made of."""
    pytest.importorskip("sentence_transformers")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    folder = tmp_path_factory.mktemp("embedder")
    base = save_tiny(folder / "base", chat=False)
    SentenceTransformer(modules=[Transformer(str(base)), Pooling(32)]).save(str(folder / "model"))
    return folder / "model", base


def texts_only(n=6, q=3):
    rows = tiny_rows(n + q)
    return Evidence(rows[:n], rows[n:], get_recipe("sound-1"))


@pytest.mark.parametrize("text", ["both", "prompt", "response"])
def test_embedding_is_the_cosine_of_mean_token_states(embedder, text):
    folder, base = embedder
    tokenizer, model = AutoTokenizer.from_pretrained(base), AutoModel.from_pretrained(base)

    def embed(row):
        words = {"both": f"{row.prompt}\n{row.response}"}.get(text) or getattr(row, text)
        ids = torch.tensor([tokenizer(words)["input_ids"]])
        with torch.no_grad():
            return model(ids).last_hidden_state[0].double().mean(0).numpy()

    ev = texts_only()
    want = table([embed(r) for r in ev.train_rows], [embed(r) for r in ev.query_rows], cosine)
    got = score(f"embedding(model={folder}, text={text})", ev)
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert np.ptp(want) > 0.01


def test_embedding_depends_on_texts_alone(embedder):
    ev = texts_only(80)  # more than one batch
    rows = list(ev.train_rows)
    rows[1] = rows[0].of("twin", rows[0].prompt, rows[0].response)
    spec = f"embedding(model={embedder[0]})"
    first = score(spec, replace(ev, train_rows=rows))
    close(first[:, 0], first[:, 1])
    order = np.random.default_rng(5).permutation(len(rows))
    close(score(spec, replace(ev, train_rows=[rows[i] for i in order])), first[:, order])


def test_embedding_of_an_empty_text_is_near_nothing(embedder):
    ev = texts_only()
    spec = f"embedding(model={embedder[0]}, text=response)"
    rows = [ev.train_rows[0].with_response(""), *ev.train_rows[1:]]
    got = score(spec, replace(ev, train_rows=rows))
    np.testing.assert_array_equal(got[:, 0], 0)
    np.testing.assert_allclose(got[:, 1:], score(spec, ev)[:, 1:], atol=1e-5)
    silent = [row.with_response("") for row in ev.query_rows]
    got = score(spec, replace(ev, query_rows=silent))
    np.testing.assert_array_equal(got, np.zeros((3, 6)))


def test_embedding_says_what_it_needs(tmp_path):
    assert parse_method("embedding").requires == {Resource.EMBEDDER}
    assert parse_method("embedding(model=somewhere)").requires == frozenset()
    with pytest.raises(SettingError, match=r"embedding\(model=FOLDER\)"):
        score("embedding", texts_only())
    with pytest.raises(SettingError, match=r"org/some-model is no folder here"):
        score("embedding(model=org/some-model)", texts_only())
    a_file = tmp_path / "model.safetensors"
    a_file.touch()
    with pytest.raises(SettingError, match="is no folder here"):
        score(f"embedding(model={a_file})", texts_only())


def test_embedding_without_its_library_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(SettingError, match=r"pip install 'wherefrom\[embeddings\]'"):
        score(f"embedding(model={tmp_path})", texts_only())


def test_embedding_refuses_a_library_that_runs_what_a_folder_brings(embedder, monkeypatch):
    import sentence_transformers

    monkeypatch.setattr(sentence_transformers, "__version__", "5.4.1")
    with pytest.raises(SettingError, match=r"6\.0 or later, not 5\.4\.1"):
        score(f"embedding(model={embedder[0]})", texts_only())


def test_embedding_refuses_folders_that_hold_no_model(tmp_path):
    pytest.importorskip("sentence_transformers")
    with pytest.raises(
        SettingError, match=r"cannot be loaded as a sentence-transformers model \(\w+: "
    ):
        score(f"embedding(model={tmp_path})", texts_only())


def test_embedding_runs_no_code_of_the_folder(embedder, tmp_path):
    marker = tmp_path / "ran"
    folder = tmp_path / "model"
    folder.mkdir()
    for path in embedder[0].iterdir():
        if path.is_file():
            (folder / path.name).write_bytes(path.read_bytes())
    (folder / "own.py").write_text(f"open({str(marker)!r}, 'w')\nclass Own: pass\n")
    modules = [{"idx": 0, "name": "0", "path": "", "type": "own.Own"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(SettingError, match="cannot be loaded"):
        score(f"embedding(model={folder})", texts_only())
    assert not marker.exists()


def test_embedding_loads_no_pickled_weights(embedder, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "model"
    model = SentenceTransformer(str(embedder[0]))
    model.save(str(folder))
    weights = folder / "model.safetensors"
    torch.save(model[0].model.state_dict(), folder / "pytorch_model.bin")
    kept = score(f"embedding(model={folder})", texts_only())
    assert np.isfinite(kept).all()
    weights.unlink()
    with pytest.raises(SettingError, match=r"pytorch_model\.bin is pickled"):
        score(f"embedding(model={folder})", texts_only())
