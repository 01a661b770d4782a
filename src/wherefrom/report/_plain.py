"""The first words of the page: what was found, for someone who has never heard of attribution."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

from wherefrom.answers import calibration_of
from wherefrom.diagnose import Trust
from wherefrom.methods import predicts_removal
from wherefrom.report._data import Key, ReportData
from wherefrom.report._figures import Figures
from wherefrom.report._metrics import label, meaning
from wherefrom.report._names import method_names, short
from wherefrom.report._numbers import counted, listed
from wherefrom.report._shown import Shown, checked_key
from wherefrom.report._trust_words import CANNOT_TELL
from wherefrom.safetext import one_line

TOP = 5
"""Rows that an answer is read as, where nobody checked more or fewer."""
NAMED = 3
# From this share of the questions on, a row is there whatever is asked.
ALWAYS = 0.5
OFTEN = 2
ADVICE = 220


@dataclass(frozen=True)
class Sentence:
    """One thing to know, and where the page says more of it.

    Attributes:
        command: what to type; empty where there is nothing to.
        anchor: of the part that says more; empty where none does.
        more: what that part is called.
    """

    text: str
    anchor: str = ""
    more: str = ""
    command: str = ""


def plain(data: ReportData, figures: Figures, shown: Shown) -> tuple[Sentence, ...]:
    """Three to six sentences: what was asked, which method answers, how far to trust it, what to do."""
    key = leading(data, shown)
    told = [_asked(data), *_learned(data)]
    if key is None:
        return (*told, Sentence("No method has been asked yet, so nothing is known of the rows."))
    told.append(_method(key, data, figures))
    told.append(_trusted(data.trust))
    if data.queries and data.train:
        told.append(_outstanding(key, data))
    told.append(_next(data.trust))
    return tuple(told)


def leading(data: ReportData, shown: Shown) -> Key | None:
    """The recipe and method that the page's answers are read from: the checked one, else the first."""
    return checked_key(data) or (shown.order[0] if shown.order else None)


def _asked(data: ReportData) -> Sentence:
    model = f"The model {short(data.model, 80)}" if data.model else "The model"
    source = f" of {short(data.source, 60)}" if data.source else ""
    return Sentence(
        f"{model} was fine-tuned on {counted(len(data.train), 'training row')}{source} and asked "
        f"{counted(len(data.queries), 'question')}: this page says which of those rows made it answer "
        "as it did."
    )


def _learned(data: ReportData) -> list[Sentence]:
    known = [(moment, share) for moment, share in data.behaviour.items() if math.isfinite(share)]
    if not known:
        return []
    moment, share = known[-1]
    text = f"It shows what it was taught in {_share(share)} of its answers {short(moment, 60)}"
    if len(known) > 1:
        before, first = known[0]
        text += f", and in {_share(first)} {short(before, 60)}"
        if share <= first:
            return [Sentence(f"{text}: it has learned nothing that could be traced to rows.")]
    return [Sentence(f"{text}.")]


def _method(key: Key, data: ReportData, figures: Figures) -> Sentence:
    name = method_names(data.scores)[key]
    text = f"The answers are those of the method {name}"
    judged = figures.best(figures.metrics[0]) if figures.metrics else None
    if checked_key(data) == key:
        text += ", the one that was checked"
    elif judged is not None and judged.key == key:
        text += f", which leads on {label(judged.metric)} with {_share(judged.value)}"
        told = meaning(judged.metric)
        text += f" ({told.removesuffix('.')})" if told else ""
    elif len(data.scores) > 1:
        text += (
            f", the first of {len(data.scores)} that were asked; nothing says that it is the best"
        )
    text += ". "
    if predicts_removal(data.scores[key].unit):
        text += (
            "Its score foretells how much less likely the model would find its answer had it not seen "
            "the row"
        )
        sized = calibration_of(data.scores[key]) is not None
        text += "." if sized else ": rely on the order of the rows more than on its size."
    else:
        text += "Its score only puts the rows in order: it does not say how much an answer would change."
    if figures.metrics:
        return Sentence(text, "leaderboard", "all methods")
    return Sentence(text, "samples", "the rows it names")


def _trusted(trust: Trust | None) -> Sentence:
    if trust is None:
        return Sentence(
            "Nobody has checked yet whether these answers can be trusted: take them as leads to look "
            "into, not as evidence."
        )
    failed = [short(one.check) for one in trust.findings if one.level == "failure"]
    if failed:
        return Sentence(
            f"None of the answers can be trusted as things stand, because {_checks(len(failed))} "
            f"failed: {listed(failed[:NAMED])}.",
            "trust",
            "the checks",
        )
    if not trust.traces:
        return Sentence(
            "The run was checked, but no single answer was: nothing can be said of any of them.",
            "trust",
            "the checks",
        )
    counts: Counter[str] = Counter(one.verdict.word for one in trust.traces)
    number, of = counts["supported"], len(trust.traces)
    rest = [
        f"{counts[word]} {said}"
        for word, said in (
            ("weak", "only weakly"),
            ("not supported", "not at all"),
            (CANNOT_TELL, "nobody can tell of"),
        )
        if counts[word]
    ]
    share = f"{number} ({_share(number / of)})" if number else "none"
    text = f"Of {counted(of, 'answer')} that were checked, {share} can be trusted"
    text += f", {listed(rest)}" if rest else ""
    text += (
        ". Trusted means: training again without the rows behind an answer would most likely make that "
        "answer less likely, and more so than leaving out as many other rows."
    )
    return Sentence(text, "trust", "what was checked")


def _outstanding(key: Key, data: ReportData) -> Sentence:
    k = min(data.trust.k if data.trust is not None else TOP, len(data.train))
    first = data.scores[key].top(k).indices
    counts = np.bincount(first.ravel(), minlength=len(data.train))
    # ties by how high the rows stand where they stand high
    order = np.lexsort((-data.scores[key].values.mean(0), -counts))
    of = len(data.queries)
    among = "first" if k == 1 else f"among the first {k}"
    more, found = "the rows, question by question", "samples"
    if of <= NAMED:
        best = list(dict.fromkeys(first[:, 0].tolist()))
        named = listed([_named(data, index) for index in best])
        which = "the question" if of == 1 else "the questions"
        return Sentence(f"The row that comes first for {which}: {named}.", found, more)
    # twice as often as in rankings drawn at random, and for more than one question
    often = max(2.0, OFTEN * of * k / len(data.train))
    always = [int(i) for i in order if counts[i] >= max(often, ALWAYS * of)]
    if always:
        named = listed([f"{_named(data, i)} ({counts[i]} of {of})" for i in always[:NAMED]])
        rest = f", and {len(always) - NAMED} more" if len(always) > NAMED else ""
        one = len(always) == 1
        return Sentence(
            f"{counted(len(always), 'row')} {'is' if one else 'are'} {among} for at least half of the "
            f"questions, whatever is asked: {named}{rest}. Rows that are always there explain no single "
            "answer.",
            found,
            more,
        )
    best = [int(i) for i in order[:NAMED] if counts[i] >= often]
    if not best:
        most = counted(int(counts.max()), "question")
        return Sentence(f"No row stands out: none is {among} for more than {most}.", found, more)
    named = listed([f"{_named(data, i)} ({counts[i]} of {of} questions)" for i in best])
    return Sentence(f"Most often {among}: {named}.", found, more)


def _next(trust: Trust | None) -> Sentence:
    if trust is None:
        return Sentence(
            "Next: let the run be checked; that says which answers hold, and why not.",
            command="wherefrom check",
        )
    advice = next((f for f in trust.findings if f.level == "failure" and f.advice.strip()), None)
    if advice is not None:
        told = one_line(advice.advice, ADVICE)
        return Sentence(f"Next, before anything else: {told}", "trust", short(advice.check))
    if any(one.verdict.word == "supported" for one in trust.traces):
        return Sentence(
            "Next: read the rows behind the trusted answers, write the data anew without the bad ones, "
            "and train again to see whether the answers change.",
            command="wherefrom prune",
        )
    return Sentence(
        "Next: act on no row before the answers are held against training again without it.",
        command="wherefrom counterfactual",
    )


def _checks(number: int) -> str:
    return "a check" if number == 1 else f"{number} checks"


def _named(data: ReportData, index: int) -> str:
    row = data.train[index]
    said = one_line(row.prompt, 40) or one_line(row.response, 40) or "(empty)"
    where = one_line(row.source, 40) or short(row.id, 40)
    return f"{where} (“{said}”)"


def _share(value: float) -> str:
    r"""A share as people say it: no decimals, and nothing rounded to all or none.

    Example:
        >>> _share(0.4), _share(0.999), _share(0.0)
        ('40\xa0%', '99.9\xa0%', '0\xa0%')
    """
    whole = round(100 * value)
    exact = 0 < whole < 100 or value in (0, 1)
    return f"{whole}\N{NO-BREAK SPACE}%" if exact else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"
