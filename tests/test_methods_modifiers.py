"""Modifiers against the same change made on dense gradients, and the grammar that names them."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from drawn import BIAS, BLOCKS, NONZERO, A, B, close, damping, dense, evidence, score
from wherefrom.errors import SettingError
from wherefrom.methods import parse_method, select_methods
from wherefrom.methods._aggregate import by_rank, by_vote
from wherefrom.methods._modifiers import chosen_blocks, layer_of


def influence(pairs):
    want = 0
    for train, query in pairs:
        fisher = train.T @ train / len(train) + damping(NONZERO, train) * np.eye(train.shape[1])
        want = want + query @ np.linalg.solve(fisher, train.T)
    return want


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def centred(pair):
    train, query = pair
    return train - train.mean(0), query - train.mean(0)


def whitened(pair, c):
    train, query = pair
    second = train.T @ train / len(train) + damping(NONZERO, train, c) * np.eye(train.shape[1])
    root = np.linalg.inv(np.real(sqrtm(second)))
    return train @ root, query @ root


def row_unit(pairs):
    scale = [1 / np.sqrt(sum((p[i] ** 2).sum(1) for p in pairs)) for i in (0, 1)]
    return [(t * scale[0][:, None], q * scale[1][:, None]) for t, q in pairs]


def both(pairs, change):
    return [change(pair) for pair in pairs]


CHANGES = {
    "centre=true": lambda pairs: both(pairs, centred),
    "whiten=0.5": lambda pairs: both(pairs, lambda p: whitened(p, 0.5)),
    "normalise=block": lambda pairs: both(pairs, lambda p: (unit(p[0]), unit(p[1]))),
    "normalise=row": row_unit,
    "centre=true, normalise=row": lambda pairs: row_unit(both(pairs, centred)),
    "centre=true, whiten=0.5, normalise=row": lambda pairs: row_unit(
        both(both(pairs, centred), lambda p: whitened(p, 0.5))
    ),
    "layers=last1": lambda pairs: pairs[1:2],
    "layers=0": lambda pairs: pairs[:1],
    "layers=0+1": lambda pairs: pairs[:2],
    "layers=attention, normalise=row": lambda pairs: row_unit(pairs[:2]),
}


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("form", ["auto", "dual", "primal"])
def test_modifiers_change_gradients_in_their_order(changes, form):
    ev = evidence()
    pairs = CHANGES[changes](dense(ev.final))
    close(score(f"influence({changes}, form={form})", ev), influence(pairs), 1e-4)
    close(score(f"gradient_dot({changes}, form={form})", ev), sum(q @ t.T for t, q in pairs), 1e-4)


@pytest.mark.parametrize(
    "changes", ["centre=true", "normalise=row", "centre=true, normalise=block"]
)
def test_modifiers_of_the_whole_gradient(changes):
    ev = evidence()
    (pair,) = dense(ev.final, "whole")
    pair = centred(pair) if "centre" in changes else pair
    pair = (unit(pair[0]), unit(pair[1])) if "normalise" in changes else pair
    close(score(f"influence(scope=whole, {changes})", ev), influence([pair]), 1e-4)


@pytest.mark.parametrize("tokens", ["balanced", "first5"])
def test_tokens_choose_another_gradient(tokens):
    ev = evidence()
    pairs = dense(ev.final, target=tokens)
    close(score(f"influence(tokens={tokens})", ev), influence(pairs))


def test_whitening_both_sides_is_influence():
    ev = evidence()
    close(score("gradient_dot(whiten=1.0)", ev), score("influence", ev).values)


def test_aggregation_by_rank_and_by_vote():
    ev = evidence()
    layers = [q @ t.T for t, q in (dense(ev.final)[i] for i in (2, 0, 1))]
    places = [(-values).argsort(1).argsort(1) for values in layers]
    want = 1 - np.mean(places, axis=0) / (len(ev.train_rows) - 1)
    got = score("gradient_dot(aggregate=rank)", ev)
    np.testing.assert_allclose(got.values, want, rtol=1e-5, atol=1e-6)
    assert "rank" in got.unit
    votes = np.mean([place < 1 for place in places], axis=0) + want / 6
    got = score("gradient_dot(aggregate=vote)", ev)
    np.testing.assert_allclose(got.values, votes, rtol=1e-5, atol=1e-6)
    assert "share of layers" in got.unit


def test_rows_that_score_alike_share_their_rank_and_vote():
    values = np.array([[3.0, 1.0, 3.0, 0.0]])
    ids = ("a", "b", "c", "d")
    assert by_rank([values], ids).tolist() == [[1 - 0.5 / 3, 1 - 2 / 3, 1 - 0.5 / 3, 0.0]]
    voted = by_vote([values], ids)
    assert voted[0, 0] == voted[0, 2] > voted[0, 1] > voted[0, 3]


def test_layers_are_read_off_names():
    assert layer_of("transformer.h.11.attn.c_attn.weight") == 11
    assert layer_of("gpt_neox.layers.3.attention.dense.weight") == 3
    assert layer_of("lm_head.weight") == -1
    names = [
        f"model.layers.{i}.{part}.weight"
        for i in range(9)
        for part in ("self_attn.q_proj", "mlp.up_proj")
    ] + ["lm_head.weight"]

    def kept(layers):
        return {(layer_of(n), "attn" in n) for n in chosen_blocks(layers, names)}

    assert kept("middle") == {(i, True) for i in (3, 4, 5)}
    assert kept("attention") == {(i, True) for i in range(9)}
    assert kept("mlp") == {(i, False) for i in range(9)}
    assert kept("last2") == {(i, a) for i in (7, 8) for a in (True, False)}
    assert kept("2+5") == {(i, a) for i in (2, 5) for a in (True, False)}
    assert len(chosen_blocks("all", names)) == 19
    with pytest.raises(SettingError, match="there are 9 layers"):
        chosen_blocks("12", names)


def test_a_changed_gradient_no_longer_claims_a_number_of_nats():
    ev = evidence()

    def unit(spec):
        return score(spec, ev).unit

    assert unit("influence").startswith("nats; divided by n")
    assert unit("influence(layers=0)") == unit("influence")
    for change in ("normalise=block", "centre=true", "whiten=1.0", "project=2", "tokens=first5"):
        name = change.partition("=")[0]
        assert unit(f"influence({change})") == f"arbitrary: {name} changed the gradients"
    assert unit("logra").startswith("nats")
    assert unit("gradient_cosine(normalise=row)") == "cosine, −1 to 1"
    assert unit("gradient_dot(minus_base=true)").endswith("; less the base model's")
    assert unit("influence(checkpoints=mean)") == unit("influence") + "; mean over checkpoints"
    assert unit("ekfac(checkpoints=rate)").endswith(
        "; mean over checkpoints, by their learning rates"
    )
    assert unit("influence(checkpoints=base)").endswith("; before the first step")
    assert "mean over checkpoints" in unit("dda")
    assert unit("contrastive").endswith("less the reference answer")


def test_the_grammar_is_what_a_result_prints():
    spec = "influence(normalise=block, layers=middle, damping=0.1)"
    m = parse_method(spec)
    assert m.spec == "influence(layers=middle, normalise=block, damping=0.1)"
    assert parse_method(m.spec) == m
    got = score("influence(layers=0, damping=0.1)", evidence())
    assert got.method == "influence(layers=0, damping=0.1)"
    assert got.settings["layers"] == "0"
    assert got.settings["damping"] == 0.1
    assert got.settings["normalise"] == "none"
    for wrong, told in [
        ("influence(normalise=rows)", "none, block, row"),
        ("influence(layers=some)", "all, middle"),
        ("influence(tokens=few)", "first5"),
        ("influence(tokens=first0)", "first5"),
        ("influence(project=-1)", "negative"),
        ("influence(aggregate=rank, scope=whole)", "scope=block"),
        ("tracin(checkpoints=final)", "gradient_dot"),
        ("gradient_dot(checkpoints=base, minus_base=true)", "nothing"),
        ("gradient_dot(checkpoints=some)", "final, base, mean, rate"),
    ]:
        with pytest.raises(SettingError, match=told):
            parse_method(wrong)


def test_every_method_is_its_own_spec_read_back():
    for m in select_methods(["all"]):
        assert parse_method(m.spec) == m


def test_families_of_methods_are_chosen_by_a_word():
    everything, fast, paper = (select_methods([word]) for word in ("all", "fast", "paper"))
    assert {m.cost for m in fast} == {"text", "forward", "one pass"}
    assert {m.spec for m in fast} < {m.spec for m in everything}
    assert [m.spec for m in paper] == ["gradient_dot", "datainf", "paper_lissa", "repsim"]
    costs = {m.spec: m.cost for m in everything}
    assert costs["ekfac"] == "more passes"
    assert costs["influence(curvature=true)"] == "more passes"
    assert costs["tracin"] == costs["source"] == costs["dda"] == "checkpoints"
    assert costs["bayesian"] == "draws"
    assert costs["for_value"] == "forward"
    assert costs["rept"] == "one pass"


def test_names_of_the_drawn_blocks_are_what_the_tests_take_them_for():
    assert [layer_of(name) for name in (A, B, BIAS)] == [0, 1, -1]
    assert len(BLOCKS) == 3
