"""Does the method say the same about a model whose trained weights were shuffled?"""

from __future__ import annotations

from wherefrom.diagnose._available import require_queries, scores_at
from wherefrom.diagnose._chance import beside_chance, chance
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._likeness import Likeness
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import percent
from wherefrom.methods import parse_method

_NOTICE, _WARNING = 0.7, 0.9


@check("randomised", "sanity")
def randomised(subject: Subject) -> Finding:
    """Agreement of the scores with those under randomised weights."""
    require_queries(subject)
    spec = parse_method(subject.method).spec
    known = {parse_method(name).spec: scores for name, scores in subject.randomised.items()}
    if spec not in known:
        raise NotMeasured(f"{spec} was not asked about a model with randomised weights")
    found = {
        name: Likeness.of(scores_at(subject, name), scores, subject.k)
        for name, scores in known.items()
    }
    ours = found.pop(spec)
    level: Level = "good"
    if ours.spearman > _NOTICE:
        level = "warning" if ours.spearman > _WARNING else "notice"
    compared = "; ".join(f"{name} {one.spearman:.2f}" for name, one in found.items())
    meaning = advice = ""
    if level != "good":
        meaning = (
            "The scores hardly depend on what the model learnt, so they cannot say what taught it."
        )
        advice = "Ask another method, or read the answer as a search for similar rows."
    return Finding(
        "randomised",
        "sanity",
        level,
        f"With the trained weights shuffled, {spec} ranks the rows with a rank correlation of "
        f"{ours.spearman:.2f} to what it says of the model; {percent(ours.overlap)} of the top {subject.k} "
        f"are the same (chance {percent(chance(subject))})."
        + (f" Others: {compared}." if compared else ""),
        "Near 0 for a method that reads what training wrote (under LoRA the base model stays, so some "
        "agreement is left); 1 for a method that never looks.",
        meaning,
        advice,
        {
            spec: beside_chance(ours, subject),
            "others": {name: beside_chance(one, subject) for name, one in found.items()},
        },
    )
