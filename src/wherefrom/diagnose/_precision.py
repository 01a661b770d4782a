"""Does it matter that gradients are computed in half precision?"""

from __future__ import annotations

import numpy as np

from wherefrom.capture import BLOCK, WHOLE, agreement
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._sample import sampled
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import counted, named
from wherefrom.errors import WherefromError
from wherefrom.signals import Side

MOST = 8
"""Rows whose gradients are computed twice."""
_NORMAL = (
    f"Gradients in bfloat16 point where those in float32 do: cosines of at least {WHOLE} for every row's "
    f"whole gradient and {BLOCK} for every weight matrix, all rows together."
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
    found = agreement(exact, half)
    if not len(found.rows):
        raise NotMeasured("every gradient looked at is zero")
    worst, lowest = found.lowest_block
    level: Level = "good"
    meaning = advice = ""
    if not found.good:
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
        f"The cosine of bfloat16 with float32 gradients of {counted(len(rows), 'row')} is at least "
        f"{found.lowest_row:.4f} for a row's whole gradient and {lowest:.4f} for a weight matrix "
        f"({worst}).",
        _NORMAL,
        meaning,
        advice,
        {
            "worst_row_cosine": found.lowest_row,
            "worst_block_cosine": lowest,
            "worst_block": worst,
            "blocks": found.blocks,
        },
    )


def _used(subject: Subject) -> str:
    """The precision of the run's own pass; float32 where no pass says otherwise."""
    source = subject.final.point.sources.get(Side.TRAIN)
    return "float32" if source is None else str(source.identity.get("precision", "float32"))
