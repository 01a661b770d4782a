"""Seeds: would another fine-tune on the same rows name the same rows?"""

from __future__ import annotations

import numpy as np

from wherefrom.diagnose._available import scores_at
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._likeness import Likeness, mean_of, plain
from wherefrom.diagnose._subject import Subject
from wherefrom.methods import parse_method

OTHER, SHAKY = 0.3, 0.6
"""Below these shares of the top rows kept beyond chance, another seed gives another answer, or one that is
partly another."""


@check("seeds", "convergence")
def seeds(subject: Subject) -> Finding:
    """Whether fine-tunes under other seeds give the same answers.

    Raises:
        NotMeasured: there are none, or the run's own scores cannot be had.
    """
    spec = parse_method(subject.method).spec
    known = {parse_method(name).spec: others for name, others in subject.seeds.items()}
    others = known.get(spec, ())
    if not others:
        raise NotMeasured("no fine-tunes under other seeds")
    own = scores_at(subject, spec)
    found = [Likeness.of(one, own, subject.k) for one in others]
    kept = mean_of(np.array([one.kept for one in found]))
    spearman = mean_of(np.array([one.spearman for one in found]))
    overlap = mean_of(np.array([one.overlap for one in found]))
    level = _level(kept if np.isfinite(kept) else spearman)
    return Finding(
        check="seeds",
        group="convergence",
        level=level,
        measured=(
            f"{len(found)} fine-tunes under other seeds share {overlap:.0%} of the top rows with this "
            f"one (rank correlation {spearman:.2f})."
        ),
        normal="Another order of the rows and another first adapter leave most of an answer as it is.",
        meaning=_MEANINGS[level],
        advice=_ADVICE[level],
        values={
            "method": spec,
            "k": min(subject.k, len(subject.train)),
            **{
                key: [plain(getattr(one, key)) for one in found]
                for key in ("spearman", "overlap", "rbo", "kept")
            },
        },
    )


def _level(value: float) -> Level:
    if not np.isfinite(value):
        return "unknown"
    return "warning" if value < OTHER else "notice" if value < SHAKY else "good"


_MEANINGS: dict[Level, str] = {
    "good": "The answers are about the rows, not about this one fine-tune.",
    "notice": "Part of each answer belongs to this one fine-tune.",
    "warning": (
        "The answers are about this one fine-tune: trained again on the same rows, the model would "
        "give others."
    ),
    "unknown": "The scores do not tell rows apart.",
}
_ADVICE: dict[Level, str] = {
    "good": "",
    "notice": "Average the scores of several seeds before acting on single rows.",
    "warning": "Average the scores of several seeds; do not delete or blame single rows on this one.",
    "unknown": "",
}
