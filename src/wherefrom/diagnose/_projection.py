"""Would another random projection have given another answer?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wherefrom.diagnose._available import require_queries, scores_at, scores_of
from wherefrom.diagnose._chance import beside_chance, chance
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._likeness import Likeness
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import percent
from wherefrom.methods import Evidence, Method, parse_method
from wherefrom.signals import Renamed

DRAWS = 3
"""Projections beside the method's own."""
_GOOD, _POOR = 0.8, 0.5


@check("projection", "sanity")
def projection(subject: Subject) -> Finding:
    """Stability of a projected method under other random projections."""
    require_queries(subject)
    method = parse_method(subject.method)
    k = _dimension(method)
    if not k:
        raise NotMeasured(f"{method.spec} projects nothing")
    own = scores_at(subject, method.spec)
    others = [scores_of(_redrawn(subject, f"draw{i}"), method.spec) for i in range(1, DRAWS + 1)]
    if all(np.array_equal(one.values, own.values) for one in others):
        raise NotMeasured(f"no weight matrix has a side longer than {k}, so nothing is projected")
    found = [Likeness.of(own, one, subject.k) for one in others]
    overlap = float(np.mean([one.overlap for one in found]))
    spearman = float(np.mean([one.spearman for one in found]))
    level: Level = "good" if overlap >= _GOOD else "notice" if overlap >= _POOR else "warning"
    meaning = advice = ""
    if level != "good":
        meaning = (
            "Part of every answer comes from which random projection was drawn, not from the rows."
        )
        advice = (
            f"Raise the method's dimension (now {k}), or use an exact method such as influence."
        )
    return Finding(
        "projection",
        "sanity",
        level,
        f"Under {DRAWS} other projections {method.spec} keeps {percent(overlap)} of its top {subject.k} "
        f"rows (chance {percent(chance(subject))}), at a rank correlation of {spearman:.2f}.",
        f"At least {percent(_GOOD)} of the top rows stay.",
        meaning,
        advice,
        {
            "method": method.spec,
            "dimension": k,
            "draws": [beside_chance(one, subject) for one in found],
        },
    )


def _dimension(method: Method) -> int:
    """How many dimensions a method projects to at random; 0 where it does not."""
    return int(getattr(method, "project", 0) or getattr(method, "dimension", 0))


def _redrawn(subject: Subject, name: str) -> Evidence:
    evidence = subject.evidence()
    point = evidence.final
    sources = {side: Renamed(source, name) for side, source in point.sources.items()}
    moments = {f"{name}.{block}": held for block, held in point.moments.items()}
    return replace(evidence, final=replace(point, sources=sources, moments=moments))
