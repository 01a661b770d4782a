"""Do methods of other families point at the same rows?"""

from __future__ import annotations

from itertools import combinations

from wherefrom.diagnose._available import require_queries, scores_at, those_at
from wherefrom.diagnose._chance import beside_chance, chance
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._likeness import Likeness
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import percent
from wherefrom.methods import parse_method

FAMILIES = {
    "gradient": ("influence", "gradient_cosine"),
    "forward": ("for_value", "repsim"),
    "words": ("bm25",),
}
_ALONE = 0.1
"""Overlap beyond chance below which a method stands alone."""


@check("families", "sanity")
def families(subject: Subject) -> Finding:
    """Agreement between methods of different families."""
    require_queries(subject)
    spec = parse_method(subject.method).spec
    known = those_at(subject, [one for specs in FAMILIES.values() for one in specs])
    known = {spec: scores_at(subject, spec), **known}
    if len(known) < 2:
        raise NotMeasured("no other method could be scored here")
    pairs = {
        (one, other): Likeness.of(known[one], known[other], subject.k)
        for one, other in combinations(known, 2)
    }
    own = {other: pairs[spec, other] for other in known if other != spec}
    seeing = [one for name, one in own.items() if name not in FAMILIES["words"]]
    level: Level = "good"
    if seeing and all(one.kept < _ALONE for one in seeing):
        level = "notice"
    compared = "; ".join(
        f"{name} {percent(one.overlap)} (rank correlation {one.spearman:.2f})"
        for name, one in own.items()
    )
    meaning = advice = ""
    if level != "good":
        meaning = (
            f"{spec} stands alone: no method that sees the model any other way has its rows on top. One of "
            "them is wrong, and this alone does not say which."
        )
        advice = (
            "Trust its answers only where the causal spot check or a retraining bears them out."
        )
    return Finding(
        "families",
        "sanity",
        level,
        f"Of {spec}'s top {subject.k} rows others have on top as well: {compared}; chance gives "
        f"{percent(chance(subject))}.",
        "Methods of one family share a good part of their top rows, those of different families some, and "
        "all more than chance.",
        meaning,
        advice,
        {
            "method": spec,
            "chance": chance(subject),
            "pairs": [
                {"methods": list(pair), **beside_chance(one, subject)}
                for pair, one in pairs.items()
            ],
        },
    )
