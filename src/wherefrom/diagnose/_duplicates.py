"""Do training rows repeat each other?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wherefrom.data import Example
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import LISTED, counted, named, percent

NEAR = 0.95
"""Cosine of character TF-IDF vectors (3 to 5 characters, across words) from which rows are
near-duplicates: in a row of some twenty words, about one short word has changed."""
_FEW = 0.02
"""Share of copies among the training rows up to which they are worth no more than a notice."""
_MOST = 5000
"""Distinct rows up to which near-duplicates are looked for: every row is held against every other."""
_CHARACTERS = 4000
_BLOCK = 512
_NORMAL = "Every row says something that no other row says."

Groups = list[list[int]]


@check("duplicates", "sanity")
def duplicates(subject: Subject) -> Finding:
    """Training rows that repeat or contradict each other."""
    rows = subject.train
    exact = _grouped(rows, lambda row: row.messages)
    asked = _grouped(rows, lambda row: row.messages[:-1])
    contradicting = [group for group in asked if len({rows[i].response for i in group}) > 1]
    few = len(rows) - sum(len(group) - 1 for group in exact) <= _MOST
    near = _near(rows, exact) if few else []
    copies = sum(len(group) - 1 for group in exact)
    close = sum(len(group) for group in near)
    against = sum(len(group) for group in contradicting)
    values: dict[str, Any] = {
        "copies": copies,
        "near_rows": close,
        "contradicting_rows": against,
        "threshold": NEAR if few else None,
        "exact": _ids(rows, exact),
        "near": _ids(rows, near),
        "contradicting": _ids(rows, contradicting),
    }
    parts = []
    if exact:
        parts.append(
            f"{counted(copies, 'row')} ({percent(copies / len(rows))}) "
            f"{'is an exact copy' if copies == 1 else 'are exact copies'} of others"
        )
    if near:
        parts.append(f"{counted(close, 'row')} nearly the same as another")
    if contradicting:
        parts.append(f"{counted(against, 'row')} with a prompt that another row answers otherwise")
    if not parts:
        which = "duplicates" if few else "exact duplicates"
        text = f"No {which} among {counted(len(rows), 'training row')}."
        return Finding("duplicates", "sanity", "good", text, _NORMAL, values=values)
    largest = max((*exact, *near, *contradicting), key=len)
    crowded = copies > 0 and (copies > _FEW * len(rows) or max(map(len, exact)) > subject.k)
    level: Level = "warning" if crowded else "notice"
    return Finding(
        "duplicates",
        "sanity",
        level,
        f"Duplicates: {'; '.join(parts)}. The largest group: "
        f"{named(sorted(rows[i].id for i in largest))}.",
        _NORMAL,
        "Copies share the credit: each seems to matter less than the text does, taking one away changes "
        "nothing, and an answer's top rows can be one text several times. Rows that contradict each other "
        "pull an answer both ways.",
        "Drop the copies before training, or count a group of copies as one row.",
        values,
    )


def copies_of(rows: Sequence[Example]) -> np.ndarray:
    """For each row the number of the first row that is exactly the same: int64, (rows,)."""
    first = np.arange(len(rows))
    for group in _grouped(rows, lambda row: row.messages):
        first[group] = group[0]
    return first


def groups_of_copies(rows: Sequence[Example]) -> Groups:
    """Rows that are the same text or nearly so, as lists of their numbers; rows by themselves are in none.

    Among more than 5,000 distinct rows only exact copies are found.
    """
    exact = _grouped(rows, lambda row: row.messages)
    few = len(rows) - sum(len(group) - 1 for group in exact) <= _MOST
    pairs = [(group[0], other) for group in exact for other in group[1:]]
    near = _near(rows, exact) if few else []
    return _joined([*pairs, *((group[0], other) for group in near for other in group[1:])])


def _grouped(rows: Sequence[Example], key: Any) -> Groups:
    held: dict[Any, list[int]] = {}
    for index, row in enumerate(rows):
        held.setdefault(key(row), []).append(index)
    return [group for group in held.values() if len(group) > 1]


def _near(rows: Sequence[Example], exact: Groups) -> Groups:
    """Rows nearly the same as each other or as one in between; of exact copies one is looked at."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    later = {index for group in exact for index in group[1:]}
    kept = [index for index in range(len(rows)) if index not in later]
    texts = ["\n".join(m.content for m in rows[i].messages)[:_CHARACTERS] for i in kept]
    vectorizer: Any = TfidfVectorizer(analyzer="char", ngram_range=(3, 5), dtype=np.float32)
    try:
        vectors = vectorizer.fit_transform(texts)
    except ValueError:
        # not one run of three characters
        return []
    pairs = []
    for start in range(0, len(kept), _BLOCK):
        # a block against itself and what comes after it
        cosines = (vectors[start : start + _BLOCK] @ vectors[start:].T).tocoo()
        close = (cosines.data >= NEAR) & (cosines.row < cosines.col)
        pairs += [
            (kept[start + a], kept[start + b])
            for a, b in zip(cosines.row[close].tolist(), cosines.col[close].tolist(), strict=True)
        ]
    return _joined(pairs)


def _joined(pairs: Iterable[tuple[int, int]]) -> Groups:
    """Groups that pairs hang together in."""
    group: dict[int, list[int]] = {}
    for one, other in pairs:
        first, second = group.setdefault(one, [one]), group.setdefault(other, [other])
        if first is not second:
            first += second
            group |= dict.fromkeys(second, first)
    return [list(found) for found in {id(held): held for held in group.values()}.values()]


def _ids(rows: Sequence[Example], groups: Groups) -> list[list[str]]:
    """Groups of ids, the largest first."""
    found = [sorted(rows[i].id for i in group)[:LISTED] for group in groups]
    return sorted(found, key=lambda group: (-len(group), group))[:LISTED]
