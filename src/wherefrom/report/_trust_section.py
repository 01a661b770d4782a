"""The section on trust: the verdict on the run, its checks, and the answers that were looked at."""

from __future__ import annotations

from dataclasses import dataclass

from wherefrom.data import Example
from wherefrom.diagnose import Trust, Verdict
from wherefrom.report._known import known
from wherefrom.report._names import short
from wherefrom.report._numbers import counted, seconds
from wherefrom.report._strip import Strip, strip
from wherefrom.report._trust_checks import CheckGroup, check_groups
from wherefrom.report._trust_traces import TraceLine, trace_lines
from wherefrom.report._trust_words import Stamp, chance, stamp_of_word
from wherefrom.safetext import one_line

MOST_REASONS = 12
REASON = 300


@dataclass(frozen=True)
class TrustSection:
    """Everything that the section shows.

    Attributes:
        stamp: the verdict on the run in a word.
        number: the chance that goes with it; empty where nothing can be told.
        reasons: one line each.
        about: what was looked at, in a sentence.
        bad: anchor and name of every check that speaks against the answers.
        groups: the checks.
        traces: the answers, the least supported first.
        cut: how many more answers there are.
        strip: the chart of their spot checks.
    """

    stamp: Stamp
    number: str
    reasons: tuple[str, ...]
    about: str
    bad: tuple[tuple[str, str], ...]
    groups: tuple[CheckGroup, ...]
    traces: tuple[TraceLine, ...]
    cut: int
    strip: Strip | None


def trust_section(trust: Trust | None, queries: tuple[Example, ...]) -> TrustSection | None:
    """The section; None where nothing was checked.

    Args:
        trust: what the check came to.
        queries: those of the run, whose texts the answers are shown with.
    """
    if trust is None:
        return None
    groups = check_groups(trust.findings)
    traces, cut = trace_lines(trust.traces, queries)
    return TrustSection(
        stamp=stamp_of_word(trust.verdict.word),
        number=chance(trust.verdict.number),
        reasons=reasons_of(trust.verdict),
        about=_about(trust),
        bad=tuple((one.anchor, one.name) for group in groups for one in group.bad),
        groups=groups,
        traces=traces,
        cut=cut,
        strip=strip([(line.name, line.spot) for line in traces]),
    )


def reasons_of(verdict: Verdict) -> tuple[str, ...]:
    """The reasons of a verdict, each on one line."""
    return tuple(one_line(reason, REASON) for reason in verdict.reasons[:MOST_REASONS])


def _about(trust: Trust) -> str:
    taken = seconds(known(trust.seconds)) if known(trust.seconds) > 0 else ""
    return (
        f"{counted(len(trust.findings), 'check')} and {counted(len(trust.traces), 'answer')} of "
        f"{short(trust.method)}, an answer being the {counted(trust.k, 'training row')} that it ranks "
        f"first for a query{f'; made in {taken} seconds' if taken else ''}."
    )
