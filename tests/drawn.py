"""Evidence drawn at random: every kind of signal, of every side, at every state of the model."""

import numpy as np

from tiny import tiny_rows
from wherefrom.curvature import FactorSums, matrix_shape
from wherefrom.data import get_recipe
from wherefrom.methods import Evidence, Point, parse_method, score_all
from wherefrom.signals import (
    LOSS,
    POOLS,
    STATE_GRADIENT,
    TOKEN_ERROR,
    TOKEN_LOSS,
    TOKENS,
    Block,
    MemorySignals,
    Moments,
    Side,
    SignalArray,
)
from wherefrom.signals import gradient_name as g
from wherefrom.signals import hidden_name as h

N, Q = 9, 4
BLOCKS = (Block("layers.0.attn.a", (3, 4)), Block("layers.1.attn.b", (5, 6)), Block("bias", (3,)))
A, B, BIAS = (block.name for block in BLOCKS)
TARGETS = ("loss", "sampled", "margin", "balanced", "first2", "first5")
MEAN, NONZERO = get_recipe("paper-1"), get_recipe("sound-1")
SCALE = {block.name: 10.0**i for i, block in enumerate(BLOCKS)}


def signals(ids, seed, identity=None, blocks=BLOCKS, chunks=2):
    """Random signals; the second chunk stands first in the plan's order."""
    rng = np.random.default_rng(seed)
    arrays = [SignalArray(g(b.name, t), b.shape) for b in blocks for t in TARGETS]
    arrays += [SignalArray(h(pool), (3, 8)) for pool in POOLS]
    arrays += [SignalArray(STATE_GRADIENT, (3, 8)), SignalArray(TOKEN_ERROR, (5, 8))]
    arrays += [
        SignalArray(LOSS, ()),
        SignalArray(TOKENS, (), "int64"),
        SignalArray(TOKEN_LOSS, (6,)),
    ]
    n = len(ids)
    parts = [p for p in np.array_split(np.roll(np.arange(n), -(n // 2)), chunks) if len(p)]
    order = np.concatenate([np.zeros(0, int), *parts])
    sizes = [len(part) for part in parts]
    held = MemorySignals(ids, blocks, arrays, order, sizes, identity or {})
    for block in blocks:
        for target in TARGETS:
            values = rng.normal(size=(n, *block.shape)) * SCALE.get(block.name, 1.0)
            held.read(g(block.name, target))[:] = values
    for array in arrays:
        if not array.name.startswith("gradient"):
            held.read(array.name)[:] = rng.normal(size=(n, *array.shape))
    held.read(TOKENS)[:] = rng.integers(2, 6, n)
    held.read(TOKEN_LOSS)[:] = rng.exponential(size=(n, 6)) + 0.05
    held.read(LOSS)[:] = rng.exponential(size=n) + 0.5
    return held


def point(name, train_ids, query_ids, seed, rate=1.0, steps=0):
    rng = np.random.default_rng(seed + 1000)
    factors = FactorSums()
    factors.rows = len(train_ids)
    for block in BLOCKS:
        rows, columns = matrix_shape(block)
        left, right = rng.normal(size=(40, rows)), rng.normal(size=(40, columns))
        bias = len(block.shape) == 1
        factors.add(block.name, left.T @ left, np.ones((1, 1)) if bias else right.T @ right, 40)
    sides = {
        Side.TRAIN: signals(train_ids, seed),
        Side.QUERY: signals(query_ids, seed + 1),
        Side.REFERENCE: signals(query_ids, seed + 2),
    }
    moments = {
        b.name: Moments(rng.normal(size=b.shape), rng.exponential(size=b.shape)) for b in BLOCKS
    }
    return Point(name, sides, rate, steps, moments, factors)


def evidence(recipe=NONZERO, n=N, q=Q):
    rows = tiny_rows(n + q)
    train, query = rows[:n], rows[n:]
    ids = (tuple(r.id for r in train), tuple(r.id for r in query))
    final = point("final", *ids, 0, rate=0.001, steps=4)
    return Evidence(
        train,
        query,
        recipe,
        final,
        [point("step-000004", *ids, 10, rate=0.002, steps=4), final],
        point("base", *ids, 20),
        [point(f"draw-{i:03d}", *ids, 30 + i) for i in range(3)],
    )


def dense(point, scope="block", target="loss"):
    """Gradients of training rows and queries, one pair a block, or all of them end to end."""
    pairs = []
    for block in BLOCKS:
        pair = (point.source(side).read(g(block.name, target)) for side in (Side.TRAIN, Side.QUERY))
        t, q = pair
        pairs.append((t.reshape(len(t), -1).astype(float), q.reshape(len(q), -1).astype(float)))
    if scope == "whole":
        return [tuple(np.concatenate([p[i] for p in pairs], 1) for i in (0, 1))]
    return pairs


def damping(recipe, train, c=None, rule=None):
    n, p = train.shape
    trace = np.trace(train.T @ train / n)
    strength = recipe.damping if c is None else c
    return strength * trace / (p if (rule or recipe.damping_rule) == "mean" else min(n, p))


def score(spec, ev):
    return score_all([parse_method(spec)], ev).scores[0]


def close(got, want, tolerance=2e-5):
    np.testing.assert_allclose(
        got.values, want, rtol=tolerance, atol=tolerance / 20 * np.abs(want).max()
    )


def edited(ev, change):
    """The same evidence after `change(source)` on the training signals of every state."""
    for one in {id(p): p for p in ev.points()}.values():
        change(one.source(Side.TRAIN))
    return ev
