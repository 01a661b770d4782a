"""Are the trained weights sound, were they trained, and are they where the run's training ended?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._subject import BASE, FINAL, Stage, Subject
from wherefrom.diagnose._wording import LISTED, counted, named

_NORMAL = (
    "Every weight is a number, training has moved it, and the model is the one that the run's own "
    "training ended with."
)


@check("weights", "integrity")
def weights(subject: Subject) -> Finding:
    """Broken, untrained or swapped weights."""
    final = subject.final
    if not final.weights:
        raise NotMeasured("the model has no trained weights")
    for fault in (_broken(subject), _untrained(subject), _swapped(subject)):
        if fault is not None:
            return fault
    still = _still(subject)
    if still:
        return _finding(
            "notice",
            f"{counted(len(still), 'of the trained weight matrices', 'of the trained weight matrices')} "
            f"never moved from where training began: {named(still)}.",
            "No gradient reached them, so they say nothing of any training row.",
            "See whether these layers were meant to be trained.",
            {"unmoved": still[:LISTED]},
        )
    end = _end(subject)
    known = "" if end is None and final.step is None else ", and are those the training ended with"
    return _finding(
        "good",
        f"The {counted(len(final.weights), 'trained weight matrix', 'trained weight matrices')} hold no "
        f"NaN or Inf and are not where training began{known}.",
        "",
        "",
        {"matrices": len(final.weights), "trajectory": bool(known)},
    )


def _broken(subject: Subject) -> Finding | None:
    # the final model first: it is what answers
    for stage in sorted(subject.stages, key=lambda one: one.name != FINAL):
        bad = [name for name, values in stage.weights.items() if not np.isfinite(values).all()]
        if bad:
            return _finding(
                "failure",
                f"NaN or Inf at {stage.name} in {counted(len(bad), 'trained weight matrix', 'matrices')}: "
                f"{named(bad)}.",
                "The fine-tune diverged or the file is damaged. Nothing computed from such weights means "
                "anything.",
                "Train again with a lower learning rate or in float32, or take an undamaged copy.",
                {"fault": "NaN weights", "stage": stage.name, "matrices": bad[:LISTED]},
            )
    return None


def _untrained(subject: Subject) -> Finding | None:
    final = subject.final.weights
    raised = [name for name in final if ".lora_B" in name]
    zero = bool(raised) and not any(final[name].any() for name in raised)
    start = _named(subject, BASE)
    same = start is not None and _alike(final, start.weights)
    if not (zero or same):
        return None
    what = (
        "The adapter changes nothing: every lora_B is zero, so ΔW = 0."
        if zero
        else "The weights are exactly those from before the first step."
    )
    return _finding(
        "failure",
        what,
        "This is an untrained model: no training row has left a trace in it, so none can be found.",
        "Fine-tune first, or give the adapter that was trained.",
        {"fault": "untrained adapter"},
    )


def _swapped(subject: Subject) -> Finding | None:
    """Weights that are not where the trajectory ended."""
    final, end = subject.final, _end(subject)
    if end is None or _alike(final.weights, end.weights):
        return None
    if final.step is not None and end.step is not None and final.step > end.step:
        return None
    earlier = [
        one.name
        for one in subject.stages
        if one.name not in (FINAL, end.name) and _alike(final.weights, one.weights)
    ]
    if earlier:
        return _finding(
            "warning",
            f"The model is that of {earlier[0]}, while training went on to {end.name}.",
            "What is read from the whole course of training counts steps that this model never took.",
            "Take the adapter that training ended with, unless the earlier one was chosen on purpose.",
            {"fault": "earlier checkpoint", "stage": earlier[0], "end": end.name},
        )
    apart, moved = _distance(final.weights, end.weights), _moved(subject, end)
    far = "hold other matrices or shapes than" if apart is None else "differ from"
    scale = ""
    if apart is not None and moved:
        scale = f" by {apart / moved:.2g} times as much as training moved them"
    return _finding(
        "failure",
        f"The model's trained weights {far} those that training ended with ({end.name}){scale}.",
        "This looks like an adapter from another run: the rows and checkpoints of this one say nothing of "
        "it.",
        "Put back the adapter that was trained here, or make a run of the other one with its own rows.",
        {"fault": "adapter from another run", "end": end.name, "distance": apart, "moved": moved},
    )


def _still(subject: Subject) -> list[str]:
    start = _named(subject, BASE)
    if start is None:
        return []
    return [
        name
        for name, values in subject.final.weights.items()
        if name in start.weights and np.array_equal(values, start.weights[name])
    ]


def _end(subject: Subject) -> Stage | None:
    """The last checkpoint that is not the final model itself."""
    between = [one for one in subject.stages if one.name not in (BASE, FINAL) and one.weights]
    return between[-1] if between else None


def _named(subject: Subject, name: str) -> Stage | None:
    return next((one for one in subject.stages if one.name == name and one.weights), None)


def _alike(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether two sets of weights are the same, or the same once rounded to bfloat16."""
    if {name: v.shape for name, v in one.items()} != {name: v.shape for name, v in other.items()}:
        return False
    return all(
        np.array_equal(values, other[name]) or np.array_equal(values, _rounded(other[name]))
        for name, values in one.items()
    )


def _rounded(values: np.ndarray) -> np.ndarray:
    # a model passed over in bfloat16 is no other model than its float32 checkpoint
    whole = torch.from_numpy(np.array(values, dtype=np.float32))
    return np.asarray(whole.bfloat16().float().numpy())


def _distance(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> float | None:
    if {name: v.shape for name, v in one.items()} != {name: v.shape for name, v in other.items()}:
        return None
    squares = (float(np.sum((v.astype(np.float64) - other[name]) ** 2)) for name, v in one.items())
    return float(np.sqrt(sum(squares)))


def _moved(subject: Subject, end: Stage) -> float | None:
    start = _named(subject, BASE)
    return None if start is None else _distance(end.weights, start.weights)


def _finding(
    level: Level, measured: str, meaning: str, advice: str, values: Mapping[str, Any]
) -> Finding:
    return Finding("weights", "integrity", level, measured, _NORMAL, meaning, advice, values)
