"""K-FAC, EK-FAC and the damped Fisher against kronfluence and curvlinops, by their committed scores.

The files and the scripts that make them are in tests/fixtures/peers.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr
from transformers import StableLmConfig, StableLmForCausalLM

from tiny import tiny_rows
from wherefrom.capture import Pass, _token_weights
from wherefrom.curvature import GramBlock
from wherefrom.data import Recipe, TokenRow
from wherefrom.methods import Evidence, Point, parse_method, score_all
from wherefrom.models import IGNORED
from wherefrom.signals import Kind, MemorySignals, Need, Side
from wherefrom.signals import gradient_name as g

FOLDER = Path(__file__).parent / "fixtures" / "peers"
KRONFLUENCE = load_file(FOLDER / "kronfluence.safetensors")
CURVLINOPS = load_file(FOLDER / "curvlinops.safetensors")
ABOUT = json.loads((FOLDER / "kronfluence.json").read_text(encoding="utf-8"))
MODULES = ABOUT["modules"]
SUM = Recipe("sum", reduction="sum", damping_rule="mean", damping=0.1)
NEEDS = frozenset({Need(Kind.GRADIENT), Need(Kind.GRADIENT, "sampled"), Need(Kind.FACTORS)})


def model():
    made = StableLmForCausalLM(StableLmConfig(**ABOUT["config"])).double()
    weights = {
        k.removeprefix("model/"): v for k, v in KRONFLUENCE.items() if k.startswith("model/")
    }
    made.load_state_dict(weights)
    return made.eval()


def token_rows(side):
    """The peers' padded rows as ours; their labels stand where the token does."""
    arrays = (KRONFLUENCE[f"{side}/{part}"].numpy() for part in ("ids", "attention", "labels"))
    rows = []
    for number, (ids, attention, labels) in enumerate(zip(*arrays, strict=True)):
        n = int(attention.sum())
        counted = labels[:n] != IGNORED
        end = int(counted.argmax()) - 1
        here = np.ones(n, dtype=bool)
        rows.append(TokenRow(f"{side}-{number}", ids[:n], here, counted, counted, end))
    return rows


def the_peers_labels(found, rows):
    """Losses under the labels that were drawn once for both sides and kept in the file."""
    losses = torch.zeros_like(found.losses)
    for i, row in enumerate(rows):
        side, number = row.id.split("-")
        drawn = KRONFLUENCE[f"{side}/sampled"][int(number)]
        at = (found.keep + 1)[found.counted[i]]
        logits = found.logits[i][found.counted[i]]
        losses[i, found.counted[i]] = torch.nn.functional.cross_entropy(
            logits, drawn[at], reduction="none"
        )
    return losses


@pytest.fixture(scope="module")
def evidence():
    """Signals of the peers' rows, captured by our own pass in batches of five."""
    run = Pass(model(), NEEDS, reduction="sum", blocks="layers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_token_weights, "_sampled_losses", the_peers_labels)
        sources = {}
        for side, name in ((Side.QUERY, "query"), (Side.TRAIN, "train")):
            rows = token_rows(name)
            run.take_factors()
            parts = [run.run(rows[i : i + 5]) for i in range(0, len(rows), 5)]
            arrays = [a for s in run.arrays(rows).values() for a in s if "gradient" in a.name]
            doubles = [type(a)(a.name, a.shape, "float64") for a in arrays]
            ids = tuple(row.id for row in rows)
            held = MemorySignals(ids, run.blocks, doubles, np.arange(len(rows)), [len(rows)], {})
            held.put(0, {a.name: np.concatenate([p[a.name] for p in parts]) for a in arrays})
            sources[side] = held
    shown = tiny_rows(30)
    train = [shown[0].of(i, "p", "r") for i in sources[Side.TRAIN].ids]
    query = [shown[0].of(i, "p", "r") for i in sources[Side.QUERY].ids]
    final = Point("final", sources, factors=run.take_factors())
    return Evidence(train, query, SUM, final)


def ours(spec, evidence):
    return score_all([parse_method(spec)], evidence).scores[0].values


def agree(got, want, tolerance=1e-6):
    want = np.asarray(want)
    assert np.abs(got - want).max() <= tolerance * np.abs(want).max()
    ranks = [spearmanr(a, b).statistic for a, b in zip(got, want, strict=True)]
    assert min(ranks) >= 0.99


def test_gradients_are_kronfluences(evidence):
    agree(ours("gradient_dot", evidence), KRONFLUENCE["scores/identity"].sum(0))


def test_factors_are_kronfluences(evidence):
    sums = evidence.final.factors
    tokens = int(KRONFLUENCE["count/activation"])
    for module in MODULES:
        found = sums.factors(f"{module}.weight")
        for got, key in ((found.right, "activation"), (found.left, "gradient/sampled")):
            want = KRONFLUENCE[f"{key}/{module}"].numpy() / tokens
            assert np.abs(got - want).max() <= 1e-7 * np.abs(want).max()


def test_ekfac_is_kronfluences(evidence):
    agree(ours("ekfac", evidence), KRONFLUENCE["scores/ekfac/sampled/heuristic"].sum(0))


def test_kfac_is_kronfluences_at_the_scale_of_the_fisher(evidence):
    """Kronfluence leaves T̄ out of A ⊗ S; with λ in proportion its scores are T̄ times ours."""
    tokens = int(KRONFLUENCE["count/activation"]) / int(KRONFLUENCE["count/lambda"])
    want = KRONFLUENCE["scores/kfac/sampled/heuristic"].sum(0) / tokens
    agree(ours("kfac", evidence), want)


def test_an_explicit_damping_shows_what_the_heuristic_hides(evidence):
    """At one λ for all modules a wrong scale of K-FAC would change ranks, not only values."""
    want = 0
    for number, module in enumerate(MODULES):
        block = f"{module}.weight"
        factors = evidence.final.factors.factors(block)
        train, query = (
            evidence.final.source(side).read(g(block)) for side in (Side.TRAIN, Side.QUERY)
        )
        spread = factors.eigenvalues / factors.tokens
        solved = factors.back(factors.rotate(query) / (spread + 1e-3)).reshape(len(query), -1)
        mine = solved @ train.reshape(len(train), -1).T
        agree(mine, KRONFLUENCE["scores/kfac/sampled/explicit"][number])
        drawn = evidence.final.source(Side.TRAIN).read(g(block, "sampled"))
        spread = factors.corrected(iter([(np.arange(24), drawn)]), 24)
        solved = factors.back(factors.rotate(query) / (spread + 1e-3)).reshape(len(query), -1)
        want = want + solved @ train.reshape(len(train), -1).T
    agree(want, KRONFLUENCE["scores/ekfac/sampled/explicit"].sum(0))


@pytest.mark.parametrize("form", ["dual", "primal"])
@pytest.mark.parametrize(("curvature", "key"), [("empirical", "empirical"), ("true", "sampled")])
def test_the_damped_fisher_is_curvlinops(evidence, form, curvature, key):
    want = CURVLINOPS[f"scores/{key}/block/heuristic"].sum(0)
    agree(ours(f"influence(curvature={curvature}, form={form})", evidence), want)


@pytest.mark.parametrize(("curvature", "key"), [("empirical", "empirical"), ("true", "sampled")])
def test_the_damped_fisher_of_the_whole_gradient_is_curvlinops(evidence, curvature, key):
    want = CURVLINOPS[f"scores/{key}/whole/heuristic"]
    agree(ours(f"influence(curvature={curvature}, scope=whole)", evidence), want)


def test_drawn_labels_approach_the_exact_gauss_newton_matrix(evidence, monkeypatch):
    """True Fisher = Gauss–Newton: the more draws, the nearer."""
    run = Pass(
        model(), frozenset({Need(Kind.GRADIENT, "sampled")}), reduction="sum", blocks="layers"
    )
    rows = token_rows("train")
    draws = []
    for seed in range(40):
        monkeypatch.setattr(
            _token_weights,
            "_uniform",
            lambda row, n, seed=seed: np.random.default_rng(
                [seed, int(row.id.split("-")[1])]
            ).random(n),
        )
        draws.append(run.run(rows))
    few, many, want = 0, 0, np.asarray(CURVLINOPS["scores/ggn/block/heuristic"].sum(0))
    for block in run.blocks:
        train, query = (
            evidence.final.source(side).read(g(block.name)).reshape(-1, block.size)
            for side in (Side.TRAIN, Side.QUERY)
        )
        drawn = [d[g(block.name, "sampled")].reshape(24, -1) for d in draws]
        for count in (1, 40):
            fisher = GramBlock.of(train, query, np.concatenate(drawn[:count]))
            lam = fisher.damping("mean", 0.1)
            part = fisher.filtered(lambda s, lam=lam: 1 / (s + lam))
            few, many = (few + part, many) if count == 1 else (few, many + part)
    rough, close = (
        np.mean([spearmanr(a, b).statistic for a, b in zip(found, want, strict=True)])
        for found in (few, many)
    )
    assert rough < 0.8 < 0.88 < close
