"""What the summary says of retraining: no more than the intervals support."""

from __future__ import annotations

from wherefrom.metrics import paired_lds
from wherefrom.report._data import ReportData
from wherefrom.report._figures import Figures
from wherefrom.report._names import short
from wherefrom.report._numbers import correlation, percent, span
from wherefrom.report._retraining import Foretelling
from wherefrom.report._scatter import class_matches


def foretold(data: ReportData, figures: Figures) -> str:
    """Which method foretells retraining best, and where the best by class match stands there.

    Empty where no LDS is known.
    """
    if data.retraining is None or not data.retraining.foretellings:
        return ""
    best, *others = data.retraining.foretellings
    text = (
        f"{short(best.method)} has the highest linear datamodeling score (how well summed scores "
        f"foretell retraining on random subsets; 1 = fully, 0 = not at all): {_stated(best)}"
    )
    ceiling = data.retraining.known_ceiling
    text += f", under a noise ceiling of {correlation(ceiling)}." if ceiling is not None else "."
    if not best.has_interval:
        return f"{text} Without an interval, that is not to be relied on."
    if best.low <= 0:
        return f"{text} The interval holds 0: no method is shown to foretell retraining."
    if others:
        text += _ahead(best, others[0], data)
    return text + _class_match(best, data, figures)


def _ahead(best: Foretelling, second: Foretelling, data: ReportData) -> str:
    text = f" The next is {short(second.method)} with {correlation(second.value)}"
    if second.value == best.value:
        return f"{text}, the same."
    difference = _difference(best, second, data)
    if difference is None:
        return f"{text}."
    gap, settled = difference
    return f"{text}, {gap}: " + (
        "the difference is not within chance."
        if settled
        else "these retrainings do not settle which is better."
    )


def _class_match(best: Foretelling, data: ReportData, figures: Figures) -> str:
    assert data.retraining is not None, "checked before"
    matches = class_matches(data.retraining, figures)
    if not matches:
        return ""
    top = max(figure.value for figure in matches.values())
    ways = f"class match ({percent(top)} % average precision)"
    leaders = [one for one in data.retraining.foretellings if one.method in matches]
    leaders = [one for one in leaders if matches[one.method].value == top]
    also = f", as have {len(leaders) - 1} others" if len(leaders) > 2 else ""
    if best in leaders:
        return f" {short(best.method)} also has the highest {ways}."
    leader = leaders[0]
    text = (
        f" {short(leader.method)}, which has the highest {ways}{also}, stands at {_stated(leader)}"
    )
    difference = _difference(best, leader, data)
    if leader.has_interval and leader.low <= 0 <= leader.high:
        return f"{text}: it knows what a prompt is about, and is not shown to foretell retraining."
    if difference is None:
        return f"{text}."
    gap, settled = difference
    return f"{text}, {gap}: " + (
        "matching classes best is not foretelling retraining best."
        if settled
        else "these retrainings do not tell the two apart."
    )


def _difference(best: Foretelling, other: Foretelling, data: ReportData) -> tuple[str, bool] | None:
    """By how much the second is lower, in words, and whether chance is ruled out.

    Two intervals that overlap settle nothing, since methods are judged on the same subsets: the
    difference needs an interval of its own.
    """
    assert data.retraining is not None, "checked before"
    retrainings, recipe = data.retraining.retrainings, data.retraining.recipe
    known = [data.scores.get((recipe, one.method)) for one in (best, other)]
    if retrainings is None or known[0] is None or known[1] is None:
        return None
    found = paired_lds(known[0], known[1], retrainings)
    ends = span(correlation(found.low), correlation(found.high))
    if not ends:
        return None
    return f"lower by {correlation(found.difference)} ({ends})", found.low > 0


def _stated(one: Foretelling) -> str:
    ends = span(correlation(one.low), correlation(one.high))
    return correlation(one.value) + (f" (95 % interval {ends})" if ends else "")
