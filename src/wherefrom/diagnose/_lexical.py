"""Is the answer what a search for the query's words would have given?"""

from __future__ import annotations

import re

import numpy as np

from wherefrom.data import Example
from wherefrom.diagnose._available import require_queries, scores_at
from wherefrom.diagnose._chance import beside_chance, chance
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._likeness import Likeness
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import percent
from wherefrom.methods import parse_method

SEARCH = "bm25"
_WORD = re.compile(r"\w+")
_MUCH = 0.5
"""Overlap beyond chance from which an answer is what a word search gives."""


@check("lexical", "sanity")
def lexical(subject: Subject) -> Finding:
    """Overlap of the answers with a word search."""
    require_queries(subject)
    method = parse_method(subject.method)
    if method.family == "text":
        raise NotMeasured(f"{method.spec} is a search for words itself")
    scores = scores_at(subject, method.spec)
    alike = Likeness.of(scores, scores_at(subject, SEARCH), subject.k)
    shared, usual = _shared_words(subject, scores.top(subject.k).indices)
    level: Level = "notice" if alike.kept > _MUCH else "good"
    meaning = advice = ""
    if level != "good":
        meaning = (
            "The answer is what a word search gives. It may still be right, since rows with the query's "
            "words often teach it, but nothing here shows that the method knows more."
        )
        advice = "Look at whether the causal spot check prefers these rows to the lexically nearest ones."
    return Finding(
        "lexical",
        "sanity",
        level,
        f"{percent(alike.overlap)} of {method.spec}'s top {subject.k} rows are among the {subject.k} "
        f"nearest by words ({SEARCH}; chance {percent(chance(subject))}). They hold "
        f"{percent(shared)} of the query's content words; any row holds {percent(usual)}.",
        "More than chance, and well below all.",
        meaning,
        advice,
        beside_chance(alike, subject) | {"shared_words": shared, "shared_words_any_row": usual},
    )


def _shared_words(subject: Subject, top: np.ndarray) -> tuple[float, float]:
    """Share of a query's content words that a top row holds, and that any row holds: means."""
    train = [_content(row) for row in subject.train]
    asked = [_content(query) for query in subject.queries]
    shared = np.array([[len(q & t) / len(q) if q else 0.0 for t in train] for q in asked])
    return float(np.take_along_axis(shared, top, 1).mean()), float(shared.mean())


def _content(row: Example) -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    words = _WORD.findall(f"{row.prompt}\n{row.response}".lower())
    return frozenset(word for word in words if word not in ENGLISH_STOP_WORDS)
