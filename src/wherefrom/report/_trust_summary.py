"""What the summary says of the check."""

from __future__ import annotations

from collections import Counter

from wherefrom.diagnose import WORDS, Trust
from wherefrom.report._names import short
from wherefrom.report._numbers import counted, listed
from wherefrom.report._trust_words import CANNOT_TELL, UNKNOWN, chance
from wherefrom.safetext import one_line

MOST_NAMED = 5
REASON = 200


def checked(trust: Trust) -> str:
    """The verdict, the checks that speak against the answers, and how the answers stand."""
    number = chance(trust.verdict.number)
    text = (
        f"Can the answers of {short(trust.method)} be trusted? As a whole: "
        f"{short(trust.verdict.word, 40)}{f' ({number})' if number else ''}."
    )
    if trust.verdict.reasons:
        text += f" The weightiest reason: {one_line(trust.verdict.reasons[0], REASON)}"
        text += "" if text.endswith((".", "!", "?", "…")) else "."
    return " ".join(part for part in (text, _checks(trust), _traces(trust)) if part)


def _checks(trust: Trust) -> str:
    if not trust.findings:
        return ""
    bad = [short(one.check) for one in trust.findings if one.bad]
    unknown = sum(one.level == UNKNOWN for one in trust.findings)
    if bad:
        more = [f"{len(bad) - MOST_NAMED} more"] if len(bad) > MOST_NAMED else []
        speak = "speaks" if len(bad) == 1 else "speak"
        text = (
            f"{len(bad)} of {counted(len(trust.findings), 'check')} {speak} against them: "
            f"{listed([*bad[:MOST_NAMED], *more])}."
        )
    elif unknown == len(trust.findings):
        return "No check could be made."
    else:
        text = f"None of {counted(len(trust.findings), 'check')} speaks against them."
    return f"{text} {unknown} could not be made." if unknown else text


def _traces(trust: Trust) -> str:
    if not trust.traces:
        return ""
    counts = Counter(trace.verdict.word for trace in trust.traces)
    told = [f"{counts[word]} {word}" for word in WORDS if counts[word] and word != CANNOT_TELL]
    text = f"Of {counted(len(trust.traces), 'answer')} looked at"
    untold = len(trust.traces) - sum(counts[word] for word in WORDS if word != CANNOT_TELL)
    if untold:
        told.append(f"{untold} that nobody can tell of")
    return f"{text}: {listed(told)}."
