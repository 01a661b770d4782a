"""Subjects made by hand, and a probe that answers from functions."""

from dataclasses import replace

import numpy as np

import drawn
from tiny import tiny_rows, tiny_tokenizer
from wherefrom.data import Renderer, get_recipe
from wherefrom.diagnose import NotMeasured, Stage, Subject, run_checks
from wherefrom.methods import Point

RECIPE = get_recipe("sound-1")
A, B = "layers.0.q.lora_A.weight", "layers.0.q.lora_B.weight"


class FakeProbe:
    """Answers by functions of one row, and keeps what it was asked."""

    def __init__(self, log_p=None, grads=None):
        self.log_p, self.grads, self.asked = log_p, grads, []

    def log_probabilities(self, rows, stage, template=None):
        self.asked.append((list(rows), stage, template))
        return np.array([self.log_p(row, stage, template) for row in rows])

    def gradients(self, rows, precision):
        self.asked.append((list(rows), precision))
        return self.grads(rows, precision)

    def divergence(self, stage):
        raise NotMeasured("not here")

    def behaviour(self, stage):
        return None


def weights(seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    return {A: rng.normal(size=(2, 6)) + shift, B: rng.normal(size=(6, 2)) + shift}


def stages(**changes):
    """A base, a checkpoint and a final model, each with its own weights; None leaves a stage out."""
    start = weights(0) | {B: np.zeros((6, 2))}
    known = {
        "base": Stage("base", 0, start, Point("base", {})),
        "step-000004": Stage("step-000004", 4, weights(1), Point("step-000004", {})),
        "final": Stage("final", 8, weights(2), Point("final", {})),
    } | changes
    return [one for one in known.values() if one is not None]


def subject(rows=None, queries=None, *, recipe=RECIPE, probe=None, chat=True, pad_id=0, **changes):
    """A subject without signals."""
    rows = tiny_rows(20) if rows is None else rows
    queries = [] if queries is None else queries
    renderer = Renderer(tiny_tokenizer(chat), recipe)
    known = {
        "method": "bm25",
        "k": 3,
        "stages": stages(),
        "pad_id": pad_id,
    } | changes
    return Subject(
        train=rows,
        queries=queries,
        train_tokens=renderer.render_all(rows),
        query_tokens=renderer.render_all(queries),
        recipe=recipe,
        probe=probe or FakeProbe(),
        **known,
    )


def seen(method="gradient_cosine", n=12, q=6, **changes):
    """A subject with random signals of the base and the final model."""
    evidence = drawn.evidence(n=n, q=q)
    found = [
        Stage("base", 0, {}, replace(evidence.base, name="base")),
        Stage("final", 8, weights(2), evidence.final),
    ]
    return subject(
        evidence.train_rows, evidence.query_rows, method=method, **({"stages": found} | changes)
    )


def measure(name, one):
    """The one finding of a check."""
    (found,) = run_checks(one, [name])
    assert found.check == name
    return found
