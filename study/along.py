"""Along cells: what the model's states say along the run, from before the first step to the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from study.truth import retrained
from wherefrom.atomic import read_json
from wherefrom.data import Renderer
from wherefrom.methods import Evidence, parse_method, score_all
from wherefrom.metrics import lds, noise_ceiling
from wherefrom.models import middles
from wherefrom.run import Run
from wherefrom.run._gather import in_memory
from wherefrom.run._stages import point_at, states_of, with_own
from wherefrom.run._states import merge
from wherefrom.scores import Scores
from wherefrom.signals import Side

EVERY = 10_000
"""More checkpoints than any run keeps."""
FEW = 3


def compute(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The linear datamodeling score of methods at every state, and of sums over some of them.

    Args:
        settings: those of another cell, `run`, its id, and `methods`.
        folder: the cell's; the run and its retrainings are the other's.
    """
    run, asked, retrainings = retrained(settings, folder.parent.parent / settings["run"])
    scored = at_states(run, settings["methods"])
    times = times_of(run, list(next(iter(scored.values()))))
    found: dict[str, Any] = {
        "about": {
            "rate": times.rate.tolist(),
            "loss": times.loss.tolist(),
            "ceiling": noise_ceiling(retrainings).ceiling,
        },
        "states": {},
        "along": {},
    }
    for method, by_state in scored.items():
        own = [asked.own(one) for one in by_state.values()]
        found["states"][method] = {
            f"{at:.3f}": lds(one, retrainings).tolist()
            for at, one in zip(times.rate, own, strict=True)
        }
        found["along"][method] = {
            name: lds(_sum(own, weights), retrainings).tolist()
            for name, weights in choices(times).items()
        }
    return found


def at_states(run: Run, specs: Sequence[str]) -> dict[str, dict[str, Scores]]:
    """Scores of methods at every state that the run kept: by method, then by state, first to last."""
    every = run.config.index.model_copy(update={"checkpoints": EVERY})
    run = run.changed(run.config.model_copy(update={"index": every, "also": ()}))
    recipe = run.config.recipes()[0]
    methods = [parse_method(spec) for spec in specs]
    own = merge([need for m in methods for need in m.needs], run.states(recipe))
    rows = {Side.TRAIN: run.train, Side.QUERY: run.queries}
    read = in_memory(run.model, Renderer(run.model.tokenizer, recipe), rows, every)
    found: dict[str, dict[str, Scores]] = {m.spec: {} for m in methods}
    for state in states_of(run, recipe):
        # one at a time: all states at once would be all their gradients at once
        point = point_at(state, read, with_own(state, own))
        evidence = Evidence(run.train, run.queries, recipe, point)
        for m, scores in zip(methods, score_all(methods, evidence, quiet=True).scores, strict=True):
            found[m.spec][state.name] = scores
    return found


@dataclass(frozen=True)
class Times:
    """Where states lie along the run.

    Attributes:
        step: optimizer steps taken by then, the first 0.
        rate: share of the run's learning rates that was spent by then, 0 to 1.
        loss: mean training loss over the steps since the state before; the first batch's for the first.
        spent: learning rates of the steps since the state before, summed.
    """

    step: np.ndarray
    rate: np.ndarray
    loss: np.ndarray
    spent: np.ndarray


def times_of(run: Run, states: Sequence[str]) -> Times:
    """Where states lie, by name, first to last."""
    steps: list[Mapping[str, Any]] = read_json(run.trajectory / "steps.json")
    last = len(steps)
    ends = {"base": 0, "final": last}
    step = np.array([ends[n] if n in ends else int(n.removeprefix("step-")) for n in states])
    rates = np.concatenate([[0.0], np.cumsum([one["learning_rate"] for one in steps])])
    losses = np.array([one["loss"] for one in steps])
    loss = [losses[0], *(losses[a:b].mean() for a, b in pairwise(step))]
    spent = np.diff(rates[step], prepend=0.0)
    return Times(step, rates[step] / rates[-1], np.array(loss), spent)


def choices(times: Times) -> dict[str, np.ndarray]:
    """Weights of the states, by the name of a choice.

    `final` and `base` are one state each. `even`: three, evenly spaced in steps, the last among them, each
    with the mean learning rate of the steps before it. `middle` is what `checkpoints=rate` passes over: of
    three parts of equal learning rate, the state nearest the middle of each. `all`: every state but the
    base, with the rates spent before it.
    """
    count = len(times.step)
    saved = count - 1
    few = min(FEW, saved)
    found = {
        "final": _at([saved], count),
        "base": _at([0], count),
        "even": np.zeros(count),
        "middle": _at([1 + i for i in middles(times.rate[1:], few)], count),
        "all": times.spent,
    }
    ends = [round(end) for end in np.linspace(saved / few, saved, few)]
    for start, end in pairwise([0, *ends]):
        taken = times.step[end] - times.step[start]
        found["even"][end] = times.spent[start + 1 : end + 1].sum() / taken
    return found


def _at(places: Sequence[int], count: int) -> np.ndarray:
    found = np.zeros(count)
    found[list(places)] = 1.0
    return found


def _sum(scores: Sequence[Scores], weights: np.ndarray) -> Scores:
    values = sum(w * one.values.astype(np.float64) for w, one in zip(weights, scores, strict=True))
    return replace(scores[-1], values=np.asarray(values))
