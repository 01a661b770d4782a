"""Does the Hessian change the answer, and does the answer hang on how much it is damped?"""

from __future__ import annotations

from wherefrom.diagnose._check import check
from wherefrom.diagnose._curvature_energy import LITTLE
from wherefrom.diagnose._curvature_survey import Agreement, CurvatureSurvey, surveyed
from wherefrom.diagnose._finding import Finding, Level
from wherefrom.diagnose._subject import Subject

_NAME = "curvature-agreement"
SAME = 0.95
"""Rank correlation from which on two answers are the same."""
SHAKY = 0.7
"""Rank correlation below which ten times more or less damping is another answer. It cannot fall far below
0.57: rows' coordinates in F's eigendirections are at right angles, each part of a score changes by a factor
from 1 to 10, and by Kantorovich's inequality the cosine of two such answers is 2√10/11 or more."""


@check(_NAME, "curvature")
def curvature_agreement(subject: Subject) -> Finding:
    """Does the Hessian change the answer: influence against gradient_dot, and against another damping."""
    found = surveyed(subject)
    plain, weighted = found.plain, found.weighted
    shaky = min(found.tenth.spearman, found.tenfold.spearman)
    measured = (
        "Exact influence ranks the training rows as gradient_dot does with a mean rank correlation of "
        f"{plain.spearman:.2f}; they share {plain.overlap:.0%} of the top {found.k}, and "
        f"{plain.changed:.0%} of what sets rows apart is the Hessian's doing. Weighing blocks by 1/λ does "
        f"part of that: against gradient_dot so weighed the correlation is {weighted.spearman:.2f}, and "
        f"{weighted.changed:.0%} is changed. With a tenth of the damping the answer's correlation with "
        f"itself is {found.tenth.spearman:.2f}, with ten times {found.tenfold.spearman:.2f}."
    )
    normal = (
        f"A rank correlation under {SAME:g} with gradient_dot, else the Hessian does nothing; and over "
        f"{SHAKY:g} with the answers under a tenth and ten times the damping, since nothing in the data "
        "says which damping is right."
    )
    level, meaning, advice = _judged(found, plain, shaky)
    values = {
        "rule": found.rule,
        "strength": found.strength,
        "k": found.k,
        "spearman": plain.spearman,
        "overlap": plain.overlap,
        "share changed": plain.changed,
        "spearman, blocks weighted": weighted.spearman,
        "overlap, blocks weighted": weighted.overlap,
        "share changed, blocks weighted": weighted.changed,
        "share changed within a block": found.mean("changed"),
        "spearman with λ/10": found.tenth.spearman,
        "spearman with 10 λ": found.tenfold.spearman,
        "overlap with λ/10": found.tenth.overlap,
        "overlap with 10 λ": found.tenfold.overlap,
        "curve": {
            "multiple of λ": list(found.multipliers),
            "spearman": list(found.spearman),
            "spearman, blocks weighted": list(found.spearman_weighted),
        },
        "thresholds": {"same": SAME, "another answer": SHAKY},
    }
    return Finding(_NAME, "curvature", level, measured, normal, meaning, advice, values)


def _judged(found: CurvatureSurvey, plain: Agreement, shaky: float) -> tuple[Level, str, str]:
    if shaky < SHAKY:
        return (
            "warning",
            "The answer hangs on the damping: ten times more or less of it, which nothing in the data "
            "rules out, ranks the rows otherwise.",
            "Take only rows that stay on top under several dampings, or a method without damping "
            "(gradient_cosine), and check by retraining.",
        )
    if plain.spearman < SAME:
        return (
            "good",
            "The Hessian changes the answer, and not beyond recognition. Whether for the better, only "
            "retraining tells.",
            "",
        )
    energy = found.mean("query_energy")
    if energy < LITTLE:
        why = (
            f"because λ lies above the spectrum (only {energy:.0%} of a query's gradient is in directions "
            "with σ > λ), so that (F + λI)⁻¹ is I/λ"
        )
    else:
        why = (
            f"although {energy:.0%} of a query's gradient lies in directions with σ > λ, these are shrunk "
            "alike, or tell the training rows apart little"
        )
    return (
        "notice",
        f"The Hessian changes next to nothing, {why}. Methods that differ only in how they invert "
        "it (influence, DataInf, LiSSA, conjugate gradient) are then one witness, not several.",
        "Use gradient_dot, which costs less, or lower the damping; and do not take the agreement of these "
        "methods for confirmation.",
    )
