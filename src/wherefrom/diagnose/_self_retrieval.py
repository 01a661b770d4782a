"""Does each training row, asked as a query, find itself?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from wherefrom.diagnose._available import scores_of
from wherefrom.diagnose._check import check
from wherefrom.diagnose._duplicates import copies_of
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._sample import sampled
from wherefrom.diagnose._subject import FINAL, Subject
from wherefrom.diagnose._wording import LISTED, counted, percent
from wherefrom.methods import Trait, parse_method
from wherefrom.scores import ranking
from wherefrom.signals import Side, SomeRows, Source

MOST = 50
"""Rows that are asked."""
_GOOD, _POOR = 0.9, 0.5
_EXEMPT = (Trait.NO_EVIDENCE, Trait.DIFFERENCE, Trait.QUERY_FREE)


@check("self-retrieval", "sanity")
def self_retrieval(subject: Subject) -> Finding:
    """Whether training rows, asked as queries, find themselves first."""
    method = parse_method(subject.method)
    if len(subject.train) < 2:
        raise NotMeasured("there is but one training row")
    for trait in _EXEMPT:
        if trait in method.traits:
            raise NotMeasured(f"{method.spec} need not find a row by itself: {trait.value}")
    chosen = sampled(subject.train, MOST)
    evidence = subject.evidence()
    sources: dict[Side, Source] = {}
    if Side.TRAIN in evidence.final.sources:
        train = evidence.final.sources[Side.TRAIN]
        sources = {Side.TRAIN: train, Side.QUERY: SomeRows(train, chosen)}
    asked = replace(
        evidence,
        query_rows=[subject.train[i] for i in chosen],
        final=replace(evidence.final, name=FINAL, sources=sources),
    )
    scores = scores_of(asked, method.spec)
    first = copies_of(subject.train)
    places = np.argsort(ranking(scores.values, scores.train_ids), axis=1)
    # an exact copy is as good as the row itself
    own = np.array([places[q, first == first[i]].min() + 1 for q, i in enumerate(chosen)])
    share = float((own == 1).mean())
    lost = [subject.train[chosen[q]].id for q in np.argsort(-own, kind="stable") if own[q] > 1]
    level: Level = "good" if share >= _GOOD else "notice" if share >= _POOR else "warning"
    meaning = advice = ""
    if level != "good":
        meaning = (
            "The method often prefers another row to the very row that the query is: rows with large "
            "gradients (or long texts) drown out what is like the query."
        )
        advice = (
            "Compare with a method that takes the norm out (gradient_cosine, relative) or damps less, and "
            "read the outliers check."
        )
    return Finding(
        "self-retrieval",
        "sanity",
        level,
        f"Of {counted(len(chosen), 'training row')} asked as queries {percent(share)} are ranked first by "
        f"themselves (or a copy); their mean rank is {own.mean():.1f} of {len(subject.train)}.",
        "Nearly all rows find themselves first; methods on dot products, which favour large gradients, "
        "somewhat fewer.",
        meaning,
        advice,
        {
            "method": method.spec,
            "asked": len(chosen),
            "first_share": share,
            "mean_rank": float(own.mean()),
            "not_first": lost[:LISTED],
        },
    )
