"""Does it matter that gradients are computed in half precision?"""

from __future__ import annotations

import numpy as np

from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._sample import sampled
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import counted, named
from wherefrom.errors import WherefromError
from wherefrom.signals import Side

MOST = 8
"""Rows whose gradients are computed twice."""
_MEAN, _WORST = 0.99, 0.9
_NORMAL = (
    f"Gradients in bfloat16 point where those in float32 do: cosines of {_MEAN} on average and at least "
    f"{_WORST} for every row and weight matrix."
)


@check("precision", "sanity")
def precision(subject: Subject) -> Finding:
    """Agreement of bfloat16 with float32 gradients."""
    rows = sorted(sampled(subject.train, MOST))
    try:
        exact = subject.probe.gradients(rows, "float32")
        half = subject.probe.gradients(rows, "bfloat16")
    except WherefromError as error:
        raise NotMeasured(f"gradients could not be computed in both precisions: {error}") from None
    broken = [name for name in exact if not np.isfinite(half[name]).all()]
    if broken:
        return Finding(
            "precision",
            "sanity",
            "warning" if _used(subject) == "bfloat16" else "notice",
            f"In bfloat16 gradients are NaN or Inf in {counted(len(broken), 'block')}: {named(broken)}.",
            _NORMAL,
            "Nothing computed in bfloat16 means anything for this model.",
            "Index with --precision float32.",
            {"not_finite": broken},
        )
    by_block = {name: _cosines(exact[name], half[name]) for name in exact}
    by_block = {name: cosines for name, cosines in by_block.items() if len(cosines)}
    if not by_block:
        raise NotMeasured("every gradient looked at is zero")
    every = np.concatenate(list(by_block.values()))
    worst = min(by_block, key=lambda name: by_block[name].min())
    lowest, mean = float(by_block[worst].min()), float(every.mean())
    level: Level = "good"
    meaning = advice = ""
    if mean < _MEAN or lowest < _WORST:
        half_used = _used(subject) == "bfloat16"
        level = "warning" if half_used else "notice"
        meaning = "Rounding in bfloat16 turns gradients: scores computed in it are partly noise."
        advice = (
            "Index with --precision float32."
            if half_used
            else "Keep to --precision float32, in which this run was indexed."
        )
    return Finding(
        "precision",
        "sanity",
        level,
        f"The cosine of bfloat16 with float32 gradients of {counted(len(rows), 'row')} is {mean:.4f} on "
        f"average and {lowest:.4f} at worst ({worst}).",
        _NORMAL,
        meaning,
        advice,
        {
            "mean_cosine": mean,
            "worst_cosine": lowest,
            "worst_block": worst,
            "blocks": {name: float(cosines.mean()) for name, cosines in by_block.items()},
        },
    )


def _used(subject: Subject) -> str:
    """The precision of the run's own pass; float32 where no pass says otherwise."""
    source = subject.final.point.sources.get(Side.TRAIN)
    return "float32" if source is None else str(source.identity.get("precision", "float32"))


def _cosines(exact: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Of every row whose gradients are not zero in either."""
    one, other = (x.reshape(len(x), -1).astype(np.float64) for x in (exact, half))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    kept = norms > 0
    return np.asarray(np.einsum("np,np->n", one[kept], other[kept]) / norms[kept])
