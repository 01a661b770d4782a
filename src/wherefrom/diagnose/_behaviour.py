"""Behaviour: does what the model says move when its parameters do?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata

from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._likeness import plain
from wherefrom.diagnose._movement import changes, effective_rank, layer_norms
from wherefrom.diagnose._subject import BASE, Subject

STILL = 1e-3
"""KL to the base model below which it says what it always said, in nats a token."""
APART = 0.5
"""Gap between the shares of their way that parameters and behaviour have gone, from which one tells little
of the other."""
_MOST = 8


@check("behaviour", "behaviour")
def behaviour(subject: Subject) -> Finding:
    """Whether behaviour moves when parameters do, step by step.

    The founding paper's third mechanism (arXiv 2409.19998): attack success rises about 400-fold while
    ‖ΔW‖ grows about 1.6-fold.

    Raises:
        NotMeasured: no weights of the model are known.
    """
    along, layers, final = _course(subject)
    level = _level(along)
    return Finding(
        check="behaviour",
        group="behaviour",
        level=level,
        measured=_measured(along),
        normal=(
            "Fine-tuning moves the weights and what the model says together; behaviour may come early "
            "or late on the way."
        ),
        meaning=_meaning(along, level),
        advice=_ADVICE[level],
        values={
            "stages": along.names,
            "steps": along.steps,
            **{name: [plain(one) for one in values] for name, values in along.curves().items()},
            "norm_by_layer": layers,
            "singular_values": final,
            "relations": along.relations(),
        },
    )


@dataclass(frozen=True)
class _Course:
    """What was measured along training, base first; NaN where it is not known.

    Attributes:
        names: of the stages.
        steps: optimizer steps taken by then.
        norm: ‖ΔW‖_F of all trained weights together.
        kl: KL(stage ‖ base), nats a token, mean over the queries.
        log_p: log-probability of the queries' responses, nats a token, mean over the queries.
        share: of the queries that show the taught behaviour.
    """

    names: list[str]
    steps: list[int | None]
    norm: np.ndarray
    kl: np.ndarray
    log_p: np.ndarray
    share: np.ndarray

    def curves(self) -> dict[str, np.ndarray]:
        return {
            "norm": self.norm,
            "kl": self.kl,
            "log_probability": self.log_p,
            "behaviour": self.share,
        }

    @property
    def said(self) -> tuple[str, np.ndarray]:
        """The measure of behaviour that the run is judged by: the task's own, else log-probability."""
        if np.isfinite(self.share).all():
            return "behaviour", self.share
        return "log_probability", self.log_p

    @property
    def gap(self) -> float:
        """Largest gap between the shares of their whole way that behaviour and ‖ΔW‖ have gone."""
        said = self.said[1]
        whole = said[-1] - said[0]
        if not (self.norm[-1] > 0 and abs(whole) > 0):
            return float("nan")
        gaps = (said - said[0]) / whole - self.norm / self.norm[-1]
        return float(np.nanmax(np.abs(gaps)))

    def relations(self) -> dict[str, Any]:
        """How each measure of behaviour goes with ‖ΔW‖: correlations over stages, and growth."""
        found: dict[str, Any] = {
            "norm_growth": plain(_growth(self.norm)),
            "largest_gap": plain(self.gap),
        }
        for name, values in self.curves().items():
            if name == "norm":
                continue
            found[name] = {
                "pearson": plain(_correlation(self.norm, values)),
                "spearman": plain(_correlation(self.norm, values, rankdata)),
                # a log-probability has no zero to grow from
                "growth": None if name == "log_probability" else plain(_growth(values)),
            }
        return found


def _course(subject: Subject) -> tuple[_Course, dict[str, list[float | None]], dict[str, Any]]:
    """The course, ‖ΔW‖ by layer and stage, and the final ΔW's singular values by matrix."""
    stages = [one for one in subject.stages if one.weights]
    first = next((one for one in stages if one.name == BASE), None)
    base = None if first is None else first.weights
    later = [one for one in stages if one.name != BASE]
    if not later or (base is None and subject.scaling is None):
        raise NotMeasured("the weights before fine-tuning are not known")
    moved = [changes(base, one.weights, subject.scaling) for one in later]
    by_layer = [layer_norms(one) for one in moved]
    if not by_layer[-1]:
        raise NotMeasured("none of the trained weights is known before and after")
    names = [BASE, *(one.name for one in later)]
    probe = subject.probe

    def ask(measure: Callable[[str], Any]) -> np.ndarray:
        return np.array([_known(measure, name) if subject.queries else np.nan for name in names])

    course = _Course(
        names,
        [0, *(one.step for one in later)],
        np.array([0.0, *(np.sqrt(sum(v**2 for v in one.values())) for one in by_layer)]),
        ask(lambda name: probe.divergence(name).mean()),
        ask(lambda name: probe.log_probabilities(subject.queries, name).mean()),
        ask(probe.behaviour),
    )
    layers = {layer: [0.0, *(plain(one[layer]) for one in by_layer)] for layer in by_layer[-1]}
    spectra = {name: one.singular_values() for name, one in moved[-1].items()}
    final = {
        name: {
            "largest": [plain(float(one)) for one in values[:_MOST]],
            "effective_rank": plain(effective_rank(values)),
        }
        for name, values in spectra.items()
    }
    return course, layers, final


def _known(measure: Callable[[str], Any], stage: str) -> float:
    try:
        found = measure(stage)
    except NotMeasured:
        return float("nan")
    return float("nan") if found is None else float(found)


def _growth(values: np.ndarray) -> float:
    """Last over first trained stage; NaN with one of them, or from 0."""
    if len(values) < 3 or not values[1] > 0:
        return float("nan")
    return float(values[-1] / values[1])


def _correlation(
    first: np.ndarray,
    second: np.ndarray,
    prepare: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 3:
        return float("nan")
    left, right = (prepare(values[known]) for values in (first, second))
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(np.corrcoef(left, right)[0, 1])


def _level(along: _Course) -> Level:
    if not along.norm[-1] > 0 or along.kl[-1] < STILL:
        return "warning"
    said = along.said[1]
    if np.isfinite([said[0], said[-1]]).all() and not said[-1] > said[0]:
        return "warning"
    return "notice" if along.gap > APART else "good"


def _measured(along: _Course) -> str:
    text = f"Training moved the weights by ‖ΔW‖ = {along.norm[-1]:.3g}"
    if np.isfinite(along.kl[-1]):
        text += (
            f"; what the model says moved by {along.kl[-1]:.3g} nats a token (KL to the base model)"
        )
    if np.isfinite(along.log_p[[0, -1]]).all():
        text += (
            f"; the queries' log-probability went from {along.log_p[0]:.2f} to {along.log_p[-1]:.2f} "
            "nats a token"
        )
    if np.isfinite(along.share[[0, -1]]).all():
        text += f", the taught behaviour from {along.share[0]:.0%} to {along.share[-1]:.0%} of them"
    said, growth = along.said, _growth(along.norm)
    if np.isfinite(growth):
        text += f". From {along.names[1]} to the end ‖ΔW‖ grew {growth:.2g}-fold"
        other = _growth(along.kl)
        text += f" and the KL {other:.2g}-fold" if np.isfinite(other) else ""
    if np.isfinite(along.gap):
        name = "behaviour" if said[0] == "behaviour" else "log-probability"
        text += f"; {name} and ‖ΔW‖ were up to {along.gap:.0%} of their whole way apart"
    return text + "."


def _meaning(along: _Course, level: Level) -> str:
    if level == "good":
        return "Parameters and behaviour move together, so a score of parameters may stand for behaviour."
    if level == "notice":
        return (
            "Behaviour did not come in step with the parameters: how far a row moves the weights says "
            "little of how far it moves what the model does."
        )
    if not along.norm[-1] > 0:
        return "The weights are those before fine-tuning: no row taught this model anything."
    if along.kl[-1] < STILL:
        return (
            "The weights moved and the model says what it always said: its answers come from before "
            "fine-tuning, and no training row explains them."
        )
    if along.said[0] == "behaviour" and along.log_p[-1] > along.log_p[0]:
        return (
            "The responses became likelier, and the model does not give them any more often than before: "
            "rows are credited with a behaviour that it does not show."
        )
    return (
        "The weights moved, but not towards these responses: the rows on top of an answer are the best "
        "of rows that did not bring it about."
    )


_ADVICE: dict[Level, str] = {
    "good": "",
    "notice": (
        "Judge rows by what retraining or a few steps on them do to the behaviour, not by scores alone."
    ),
    "warning": (
        "Check that training ran and that the adapter belongs to this model; train longer, or ask "
        "about responses that the fine-tuned model itself gives."
    ),
    "unknown": "",
}
