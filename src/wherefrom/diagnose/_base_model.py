"""Does the method say the same about a model that was never trained on these rows?"""

from __future__ import annotations

from wherefrom.diagnose._available import require_queries, scores_at, those_at
from wherefrom.diagnose._chance import beside_chance, chance
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level
from wherefrom.diagnose._likeness import Likeness
from wherefrom.diagnose._subject import BASE, Subject
from wherefrom.diagnose._wording import percent
from wherefrom.methods import parse_method

CONTRAST = ("influence", "gradient_cosine", "for_value", "repsim")
_NOTICE, _WARNING = 0.7, 0.9


@check("base-model", "sanity")
def base_model(subject: Subject) -> Finding:
    """Agreement of the scores with those at the model before fine-tuning."""
    require_queries(subject)
    spec = parse_method(subject.method).spec
    ours = Likeness.of(scores_at(subject, spec), scores_at(subject, spec, BASE), subject.k)
    final, base = those_at(subject, CONTRAST), those_at(subject, CONTRAST, BASE)
    others = {
        name: Likeness.of(final[name], base[name], subject.k)
        for name in final
        if name in base and name != spec
    }
    level: Level = "good"
    if ours.spearman > _NOTICE and ours.kept > _NOTICE / 2:
        both = ours.spearman > _WARNING and ours.kept > _WARNING / 2
        level = "warning" if both else "notice"
    compared = "; ".join(
        f"{name} {one.spearman:.2f} and {percent(one.overlap)}" for name, one in others.items()
    )
    meaning = advice = ""
    if level != "good":
        meaning = (
            "If a method says the same about a model that was never trained on these rows, it retrieves "
            "rows that look like the query and does not attribute."
        )
        advice = (
            "Take the base model's score off (minus_base=true), or ask a method that agrees with itself "
            "less."
        )
    return Finding(
        "base-model",
        "sanity",
        level,
        f"{spec} ranks the rows at the final model as at the base model with a rank correlation of "
        f"{ours.spearman:.2f}; {percent(ours.overlap)} of the top {subject.k} are the same (chance "
        f"{percent(chance(subject))})." + (f" Others: {compared}." if compared else ""),
        "Well below 1: what a row did to the model shows only once the model was trained on it. Some "
        "agreement is normal, since rows that look alike also teach alike.",
        meaning,
        advice,
        {
            spec: beside_chance(ours, subject),
            "others": {name: beside_chance(one, subject) for name, one in others.items()},
        },
    )
