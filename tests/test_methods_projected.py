"""Methods on signals that were projected before they were stored."""

from dataclasses import replace

import numpy as np
import pytest

from drawn import BLOCKS, evidence, score
from wherefrom.curvature import matrix_shape, projected_block, projections
from wherefrom.signals import MemorySignals, Moments, Side, SignalArray
from wherefrom.signals import gradient_name as g

K = 2


def projected(source):
    """The signals as they are kept under the policy: every gradient of a block as P_o G P_iᵀ."""
    blocks = tuple(projected_block(block, K) for block in BLOCKS)
    values = {name: source.read(name) for name in source.names()}
    for block, small in zip(BLOCKS, blocks, strict=True):
        left, right = projections(block, K)
        for name in [n for n in values if n.endswith(f"/{block.name}")]:
            found = values[name].reshape(-1, *matrix_shape(block))
            found = found if left is None else left @ found
            found = found if right is None else found @ right.T
            values[name] = found.reshape(-1, *small.shape).astype(np.float32)
    arrays = [SignalArray(n, v.shape[1:], str(v.dtype)) for n, v in values.items()]
    n = len(source.ids)
    held = MemorySignals(source.ids, blocks, arrays, np.arange(n), [n], source.identity)
    for name, found in values.items():
        held.read(name)[:] = found
    return held


def stored():
    ev = evidence(n=20)
    sides = {side: projected(source) for side, source in ev.final.sources.items()}
    final = replace(ev.final, sources=sides, factors=None, moments=dict[str, Moments]())
    last = ev.checkpoints[0]
    first = replace(last, sources={side: projected(s) for side, s in last.sources.items()})
    return ev, replace(ev, final=final, checkpoints=[first, final])


@pytest.mark.parametrize(
    "spec",
    [
        f"logra(project={K})",
        f"gradient_dot(project={K})",
        f"hyperinf(project={K})",
        f"influence(project={K}, curvature=true, reference=true)",
        f"tracin(project={K})",
    ],
)
def test_a_method_under_the_stored_projection_scores_as_from_whole_gradients(spec):
    whole, small = stored()
    want, got = score(spec, whole).values, score(spec, small).values
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("side", [0, K, 16, 64])
def test_a_side_no_shorter_than_the_stored_one_takes_what_is_stored(side):
    _, small = stored()
    want = score(f"influence(project={K})", small).values
    assert np.array_equal(score(f"influence(project={side})", small).values, want)


def test_a_shorter_side_projects_once_more():
    _, small = stored()
    one, other = (score(f"gradient_dot(project={k})", small).values for k in (1, K))
    assert one.shape == other.shape
    assert not np.allclose(one, other)


def test_trak_takes_another_random_projection_of_what_is_stored():
    _, small = stored()
    # in many dimensions its products are those of the stored gradients
    got = score("trak(dimension=20000, checkpoints=final, damping=1000000.0)", small).values
    train, query = (
        np.hstack(
            [small.final.source(s).read(g(b.name, "margin")).reshape(len(ids), -1) for b in BLOCKS]
        )
        for s, ids in ((Side.TRAIN, small.train_rows), (Side.QUERY, small.query_rows))
    )
    products = query @ train.T
    for one, other in zip(got, products, strict=True):
        assert np.corrcoef(one, other)[0, 1] > 0.9
