"""Convergence: does the answer hold still while the model is trained, and does training reach a minimum?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wherefrom.diagnose._available import require_queries, scores_at
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._full_gradient import FullGradients, full_gradients
from wherefrom.diagnose._likeness import Likeness, plain
from wherefrom.diagnose._subject import BASE, Stage, Subject
from wherefrom.methods import parse_method
from wherefrom.models import clean_name
from wherefrom.scores import Scores, ranking
from wherefrom.signals import Side, gradient_name

CHANGED, DRIFTED = 0.3, 0.6
"""Below these shares of the top rows kept beyond chance over the last third of training, the answers
changed, or drifted, while training ended."""
_EARLIER = 2 / 3
"""Share of training that the end is held against: the last checkpoint but one is the more like it the more
often one saves, since the learning rate decays."""


@check("convergence", "convergence")
def convergence(subject: Subject) -> Finding:
    """Whether answers hold still over the last third of training, and what the training gradient does.

    The founding paper's second mechanism (arXiv 2409.19998): influence is derived at a minimum of the
    training loss, which fine-tuning need not reach.

    Raises:
        NotMeasured: fewer than two states of the model have signals, or there are no queries.
    """
    require_queries(subject)
    stages = [one for one in subject.stages if one.point.sources.keys() >= {Side.TRAIN, Side.QUERY}]
    if len(stages) < 2:
        raise NotMeasured("needs a pass at one state of the model before the last")
    histories = _histories(subject, stages)
    lead = next(iter(histories.values()))
    gradients = _gradients(stages)
    before = _earlier(stages)
    level = "unknown" if stages[before].name == BASE else _level(lead[before].like)
    return Finding(
        check="convergence",
        group="convergence",
        level=level,
        measured=_measured(stages, lead, before, gradients),
        normal=(
            "Over the last third of training an answer keeps most of its top rows. In practice no "
            "fine-tune ends at a minimum, where the rows' gradients would cancel to 0."
        ),
        meaning=_MEANINGS[level],
        advice=_ADVICE[level],
        values={
            "stages": [one.name for one in stages],
            "steps": [one.step for one in stages],
            "k": min(subject.k, len(subject.train)),
            "method": subject.method,
            "methods": {
                spec: {key: [plain(getattr(one, key)) for one in along] for key in ("accuracy",)}
                | {
                    key: [plain(getattr(one.like, key)) for one in along]
                    for key in ("spearman", "overlap", "rbo", "kept")
                }
                for spec, along in histories.items()
            },
            **({} if gradients is None else _gradient_values(gradients, stages, subject)),
        },
    )


@dataclass(frozen=True)
class _Moment:
    """A method's answers at a stage: how far they are the final ones, and right by the rows' labels."""

    like: Likeness
    accuracy: float


def _earlier(stages: Sequence[Stage]) -> int:
    """Number of the trained stage that the end is held against; of the base where there is no other."""
    last = stages[-1].step
    trained = [i for i, one in enumerate(stages[:-1]) if one.name != BASE]
    placed = [
        (abs(step / last - _EARLIER), i) for i in trained if last and (step := stages[i].step)
    ]
    return min(placed)[1] if placed else trained[-1] if trained else 0


def _histories(subject: Subject, stages: Sequence[Stage]) -> dict[str, list[_Moment]]:
    """By method: the one that is checked, and the plain dot product of gradients beside it."""
    found = {}
    for spec in dict.fromkeys([parse_method(subject.method).spec, "gradient_dot"]):
        if not parse_method(spec).needs:
            continue
        try:
            along = [scores_at(subject, spec, stage.name) for stage in stages]
        except NotMeasured:
            # it needs more than the signals of one state
            continue
        found[spec] = [
            _Moment(Likeness.of(one, along[-1], subject.k), _accuracy(subject, one))
            for one in along
        ]
    if not found:
        raise NotMeasured(f"{subject.method} cannot be asked at one state of the model alone")
    return found


def _accuracy(subject: Subject, scores: Scores) -> float:
    """Share of labelled queries whose top row has their label; NaN without labels."""
    labels = {row.id: row.label for row in subject.train}
    wanted = {query.id: query.label for query in subject.queries}
    best = ranking(scores.values, scores.train_ids)[:, 0]
    hits = [
        labels[scores.train_ids[row]] == wanted[query]
        for query, row in zip(scores.query_ids, best, strict=True)
        if wanted[query] is not None
    ]
    known = any(label is not None for label in labels.values())
    return float(np.mean(hits)) if hits and known else float("nan")


def _gradients(stages: Sequence[Stage]) -> FullGradients | None:
    sources = [stage.point.source(Side.TRAIN) for stage in stages]
    blocks = sources[0].blocks
    if not blocks or any(
        not {gradient_name(b.name) for b in blocks} <= set(one.names()) for one in sources
    ):
        return None
    weights: list[Mapping[str, np.ndarray]] = [
        {clean_name(name): value for name, value in stage.weights.items()} for stage in stages
    ]
    known = all({b.name for b in blocks} <= held.keys() for held in weights)
    return full_gradients(sources, weights if known else None)


def _gradient_values(
    gradients: FullGradients, stages: Sequence[Stage], subject: Subject
) -> dict[str, Any]:
    # under LoRA B is 0 before the first step and the gradient of A with it: another space, no angle
    left_out = [subject.scaling is not None and one.name == BASE for one in stages]

    def cosine(first: int, second: int) -> float:
        apart = left_out[first] or left_out[second]
        return float("nan") if apart else gradients.cosine(first, second)

    last = len(stages) - 1
    successive = [float("nan"), *(cosine(i - 1, i) for i in range(1, len(stages)))]
    return {
        "gradient_norm": [plain(float(one)) for one in gradients.norms],
        "row_gradient_norm": [plain(float(one)) for one in gradients.row_norms.mean(axis=1)],
        "coherence": [plain(float(one)) for one in gradients.coherence],
        "unrelated_coherence": plain(len(subject.train) ** -0.5),
        "cosine_to_previous": [plain(one) for one in successive],
        "degrees_to_previous": [plain(float(np.degrees(np.arccos(one)))) for one in successive],
        "cosine_to_final": [plain(cosine(i, last)) for i in range(len(stages))],
        "cosine_to_way_left": [plain(float(one)) for one in gradients.onward],
    }


def _level(like: Likeness) -> Level:
    """By the answers at two thirds of training; by the whole ranking where every row is a top row."""
    value = like.kept if np.isfinite(like.kept) else like.spearman
    if not np.isfinite(value):
        return "unknown"
    return "warning" if value < CHANGED else "notice" if value < DRIFTED else "good"


def _measured(
    stages: Sequence[Stage],
    lead: Sequence[_Moment],
    before: int,
    gradients: FullGradients | None,
) -> str:
    one, name = lead[before], stages[before].name
    text = (
        f"Against the final answers, those at {name} share {one.like.overlap:.0%} of the top rows "
        f"(rank correlation {one.like.spearman:.2f})"
    )
    if np.isfinite(one.accuracy):
        text += (
            f"; the top row has the query's label for {lead[0].accuracy:.0%} of the queries at "
            f"{stages[0].name}, for {lead[-1].accuracy:.0%} at the end"
        )
    if gradients is None:
        return text + "."
    rows = gradients.row_norms.shape[1]
    text += (
        f". The full training gradient goes from {gradients.norms[before]:.3g} at {name} to "
        f"{gradients.norms[-1]:.3g}: {gradients.coherence[-1]:.2f} of a row's own (0 at a minimum, "
        f"{rows**-0.5:.2f} for unrelated rows)"
    )
    if stages[before].name != BASE and np.isfinite(cosine := gradients.cosine(before, -1)):
        text += f", turned by {np.degrees(np.arccos(cosine)):.0f} degrees"
    return text + "."


_MEANINGS: dict[Level, str] = {
    "good": "Where exactly training stopped hardly matters for these answers.",
    "notice": "Some of each answer depends on where training stopped.",
    "warning": (
        "The answers were still changing when training stopped: another few steps would have "
        "named other rows."
    ),
    "unknown": "Whether the answers hold still along training is not known.",
}
_ADVICE: dict[Level, str] = {
    "good": "",
    "notice": "Trust rows that stay on top at several checkpoints; `tracin` adds checkpoints up.",
    "warning": (
        "Use a method that looks along the training run (`tracin`, `source`), or train on until "
        "the answers hold still."
    ),
    "unknown": "Fine-tune with wherefrom, which keeps checkpoints, and index some of them.",
}
