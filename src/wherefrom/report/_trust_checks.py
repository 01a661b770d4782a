"""The checks as the page lists them: by group, what speaks against the answers first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wherefrom.diagnose import GROUPS, Finding
from wherefrom.report._lines import Lines
from wherefrom.report._names import short
from wherefrom.report._trust_figures import figures_of
from wherefrom.report._trust_words import (
    GROUP_NAMES,
    LEVELS,
    Stamp,
    severity,
    stamp_of_level,
)
from wherefrom.safetext import printable

LONGEST = 800
MECHANISMS = ("curvature", "convergence", "behaviour")


@dataclass(frozen=True)
class Check:
    """One check: what was measured, and the rest of what is known of it by name.

    Attributes:
        anchor: where it is on the page.
        rest: what is normal, what it means, what to do; only what there is.
    """

    anchor: str
    name: str
    stamp: Stamp
    measured: str
    rest: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CheckGroup:
    """The checks of one group.

    Attributes:
        anchor: where it is on the page.
        mechanism: whether it looks at one of the three mechanisms by which influence functions fail.
        worst: the level that speaks loudest.
        question: what they ask.
        bad: those that speak against the answers, the worst first.
        notices: those worth knowing.
        unknown: those that could not be made.
        good: those in order.
        figures: drawn from what they measured.
    """

    anchor: str
    mechanism: bool
    worst: Stamp
    name: str
    question: str
    bad: tuple[Check, ...]
    notices: tuple[Check, ...]
    unknown: tuple[Check, ...]
    good: tuple[Check, ...]
    figures: tuple[Lines, ...]


def check_groups(findings: Sequence[Finding]) -> tuple[CheckGroup, ...]:
    """The groups that have a check, in the order of `GROUPS`; those of no known group at the end."""
    anchored = [(f"check-{number}", one) for number, one in enumerate(findings, start=1)]
    groups = []
    for group in (*GROUPS, None):
        mine = [
            (anchor, one)
            for anchor, one in anchored
            if (one.group if one.group in GROUPS else None) == group
        ]
        if not mine:
            continue
        name, question = GROUP_NAMES[group] if group else ("Others", "")
        groups.append(
            CheckGroup(
                anchor=f"checks-{group or 'others'}",
                mechanism=group in MECHANISMS,
                worst=stamp_of_level(min((one.level for _, one in mine), key=severity)),
                name=name,
                question=question,
                bad=_of_levels(mine, "failure", "warning"),
                notices=_of_levels(mine, "notice"),
                unknown=_of_levels(mine, "unknown"),
                good=_of_levels(mine, "good"),
                figures=figures_of([one for _, one in mine]),
            )
        )
    return tuple(groups)


def _of_levels(findings: Sequence[tuple[str, Finding]], *levels: str) -> tuple[Check, ...]:
    mine = [pair for pair in findings if LEVELS[severity(pair[1].level)] in levels]
    mine.sort(key=lambda pair: severity(pair[1].level))
    return tuple(_check(anchor, one) for anchor, one in mine)


def _check(anchor: str, one: Finding) -> Check:
    rest = (("normal", one.normal), ("meaning", one.meaning), ("what to do", one.advice))
    return Check(
        anchor=anchor,
        name=short(one.check),
        stamp=stamp_of_level(one.level),
        measured=printable(one.measured, LONGEST),
        rest=tuple((name, printable(text, LONGEST)) for name, text in rest if text.strip()),
    )
