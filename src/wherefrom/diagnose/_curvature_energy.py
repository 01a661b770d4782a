"""Where damping sits in the spectrum, and how much of the gradients lies above it."""

from __future__ import annotations

from typing import Any

import numpy as np

from wherefrom.diagnose._check import check
from wherefrom.diagnose._curvature_survey import CurvatureSurvey, surveyed
from wherefrom.diagnose._finding import Finding, Level
from wherefrom.diagnose._subject import Subject

_NAME = "curvature-energy"
LITTLE = 0.05
"""Share of the queries' gradients above λ below which curvature has next to nothing to act on."""
HALF, MOST = 0.5, 0.8
"""Shares of the directions that damping leaves from which on λ is low, and too low. On SmolLM2-135M
(emotion, 50 rows) scores foretold retraining best at 0.16 (LDS 0.70) and worse at 0.84 (LDS 0.50; the
difference is 0.20, 95 % 0.03 to 0.35): docs/results/mechanism-curvature.md."""
_BLOCKS = 256
_SPECTRA, _POINTS = 12, 64


@check(_NAME, "curvature")
def curvature_energy(subject: Subject) -> Finding:
    """Where damping λ sits in the spectrum, the gradients' energy above it, and the effective dimension."""
    found = surveyed(subject)
    left = float(np.mean([b.effective_dimension / b.rank for b in found.blocks]))
    train, query, outside = (
        found.mean(a) for a in ("train_energy", "query_energy", "query_outside")
    )
    level, meaning, advice = _judged(query, left)
    measured = (
        f"With λ by the rule {found.rule} (c = {found.strength:g}), the median weight matrix has "
        f"{found.median('above'):.0f} of {found.median('rank'):.0f} eigenvalues above λ, and λ is "
        f"{found.median('ratio'):.2g} of the largest. In directions above λ lies {train:.0%} of a training "
        f"row's gradient and {query:.0%} of a query's ({outside:.0%} of a query's lies where no training "
        f"row's does). Damping leaves {left:.0%} of the directions (effective dimension "
        f"{found.mean('effective_dimension'):.1f} in the mean)."
    )
    normal = (
        f"λ lies inside the spectrum: at least {LITTLE:.0%} of a query's gradient above it, and under "
        f"{HALF:.0%} of the directions left. That there are no more eigenvalues than training rows is "
        "always so, and says nothing."
    )
    values = {
        **_summary(found),
        "train energy": train,
        "query energy": query,
        "query outside": outside,
        "directions left": left,
        "blocks": _blocks(found),
        "spectra": _spectra(found),
        "curve": {
            "multiple of λ": list(found.multipliers),
            "dimension per row": list(found.dimension),
            "train energy": list(found.train_energy),
            "query energy": list(found.query_energy),
        },
        "thresholds": {"query energy": LITTLE, "directions left": [HALF, MOST]},
    }
    return Finding(_NAME, "curvature", level, measured, normal, meaning, advice, values)


def _judged(query: float, left: float) -> tuple[Level, str, str]:
    if query < LITTLE:
        return (
            "notice",
            "λ lies above nearly all of the spectrum that the queries see, so dividing by F + λI is "
            "dividing by λ: within a weight matrix, scores with curvature are scores without it.",
            "To let curvature matter, lower the damping; or use gradient_dot, which is simpler.",
        )
    if left < HALF:
        return (
            "good",
            "Curvature has something to act on: it shrinks the directions that many rows share, and "
            "damping keeps the rest from being blown up.",
            "",
        )
    level: Level = "warning" if left >= MOST else "notice"
    return (
        level,
        "λ is low: directions in which hardly any training row lies are blown up until they weigh as much "
        "as those that carry the data, and the scores are partly about noise.",
        "Raise the damping (the rule nonzero with c = 1 did best in this project's retrainings), or hold "
        "the scores and those of gradient_dot against retraining.",
    )


def _summary(found: CurvatureSurvey) -> dict[str, Any]:
    dimension = [block.effective_dimension / block.rows for block in found.blocks]
    return {
        "rule": found.rule,
        "strength": found.strength,
        "training rows": found.blocks[0].rows,
        "number of blocks": len(found.blocks),
        "λ over largest eigenvalue": found.median("ratio"),
        "share of eigenvalues below λ": found.median("quantile"),
        "eigenvalues above λ": found.median("above"),
        "eigenvalues": found.median("rank"),
        "trace above λ": found.mean("trace_above"),
        "dimension per row": float(np.mean(dimension)),
    }


def _blocks(found: CurvatureSurvey) -> list[dict[str, Any]]:
    return [
        {
            "name": block.name,
            "entries": block.size,
            "λ": block.damping,
            "largest eigenvalue": float(block.eigenvalues[0]),
            "eigenvalues": block.rank,
            "above λ": block.above,
            "train energy": block.train_energy,
            "query energy": block.query_energy,
            "query outside": block.query_outside,
            "effective dimension": block.effective_dimension,
            "share below λ": block.quantile,
            "changed": block.changed,
        }
        for block in _spread(found.blocks, _BLOCKS)
    ]


def _spectra(found: CurvatureSurvey) -> list[dict[str, Any]]:
    """A few blocks' eigenvalues over λ, the largest first, thinned."""
    spectra = []
    for block in _spread(found.blocks, _SPECTRA):
        ranks = _spread(range(block.rank), _POINTS)
        values = (block.eigenvalues[list(ranks)] / block.damping).tolist()
        spectra.append(
            {"name": block.name, "rank": [r + 1 for r in ranks], "eigenvalue over λ": values}
        )
    return spectra


def _spread(things: Any, most: int) -> list[Any]:
    """At most so many of them, evenly spaced, the first and last among them."""
    places = np.unique(np.linspace(0, len(things) - 1, min(most, len(things))).round().astype(int))
    return [things[i] for i in places]
