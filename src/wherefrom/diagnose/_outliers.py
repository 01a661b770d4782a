"""Do a few rows rule every answer, and is a score no more than a row's gradient norm or length?"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from wherefrom.diagnose._available import require_queries, scores_at
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import LISTED, counted, named, percent
from wherefrom.errors import WherefromError
from wherefrom.metrics import cardinality, concentration
from wherefrom.scores import Scores
from wherefrom.signals import Side, gradient_name

_GIANT_Z, _GIANT_RATIO = 5.0, 5.0
"""Robust z of the log norm, and multiple of the median norm, from which a gradient is a giant's."""
_RULES = 0.1
"""Share of all rows' squared norm from which giants rule sums over rows."""
_FIRST_NOTICE, _FIRST_WARNING = 0.3, 0.8
"""Share of the queries that one row is first for."""
_LIKE_NOTICE, _LIKE_WARNING = 0.7, 0.9
"""Rank correlation of a score's size with gradient norm or length."""
_FEWEST = 5
_NORMAL = (
    "Different queries have different rows on top, no row's gradient is five times the usual one, and a "
    "score is not told by a row's gradient norm or length."
)


@check("outliers", "sanity")
def outliers(subject: Subject) -> Finding:
    """Rows that rule every answer: giant gradients, and scores that follow norm or length."""
    norms, why_no_norms = _norms(subject)
    try:
        require_queries(subject, _FEWEST)
        scores = scores_at(subject, subject.method)
    except NotMeasured as error:
        if norms is None:
            raise NotMeasured(f"{error}; {why_no_norms}") from None
        scores = None
    values: dict[str, Any] = {}
    said: list[tuple[Level, str]] = []
    if norms is not None:
        said.append(_giants(subject, norms, values))
    if scores is not None:
        said.append(_first(scores, min(subject.k, len(subject.train)), values))
        lengths = np.array([int(row.loss_mask.sum()) for row in subject.train_tokens], dtype=float)
        known = {"length": ("response length", lengths)}
        if norms is not None:
            known["norm"] = ("gradient norm", norms)
        said += [_like(scores, by, what, name, values) for name, (what, by) in known.items()]
    level = max((one for one, _ in said), key=_ORDER.index)
    meaning = advice = ""
    if level != "good":
        meaning = (
            "Such rows top answers whatever is asked: an answer then says how odd or long a row is, rather "
            "than what it taught."
        )
        advice = (
            "Read the rows named here (garbled, mislabelled or unlike all others?), drop those that are "
            "wrong, and compare with a method that takes the norm out: gradient_cosine or relative."
        )
    text = " ".join(text for _, text in said)
    return Finding("outliers", "sanity", level, text, _NORMAL, meaning, advice, values)


_ORDER: tuple[Level, ...] = ("good", "notice", "warning")


def _norms(subject: Subject) -> tuple[np.ndarray | None, str]:
    """Norm of each training row's gradient over all blocks, (rows,), and else why there is none."""
    try:
        source = subject.final.point.source(Side.TRAIN)
        if not source.blocks:
            return None, "no gradients were captured"
        squares = np.zeros(len(source.ids))
        for block in source.blocks:
            for rows, values in source.stream(gradient_name(block.name)):
                flat = values.reshape(len(values), -1).astype(np.float64)
                squares[rows] += np.einsum("np,np->n", flat, flat)
    except (WherefromError, KeyError) as error:
        return None, str(error)
    return np.sqrt(squares), ""


def _giants(subject: Subject, norms: np.ndarray, values: dict[str, Any]) -> tuple[Level, str]:
    positive = norms[norms > 0]
    if not len(positive):
        return "warning", "Every training row's gradient is zero."
    logs = np.log(np.maximum(norms, positive.min()))
    middle = float(np.median(logs))
    spread = 1.4826 * float(np.median(np.abs(logs - middle)))
    z = (logs - middle) / max(spread, 1e-3)
    ratio = norms / np.exp(middle)
    giants = np.flatnonzero((z > _GIANT_Z) & (ratio > _GIANT_RATIO))
    giants = giants[np.argsort(-norms[giants], kind="stable")]
    ids = [subject.train[i].id for i in giants.tolist()]
    largest = int(norms.argmax())
    share = float((norms[giants] ** 2).sum() / (norms**2).sum())
    values |= {
        "giants": ids[:LISTED],
        "giants_share_of_squared_norm": share,
        "largest_gradient": subject.train[largest].id,
        "largest_ratio": float(ratio[largest]),
        "largest_z": float(z[largest]),
    }
    text = f"The largest gradient is {ratio[largest]:.3g} times the usual one"
    if not ids:
        return "good", f"{text}."
    level: Level = "warning" if share > _RULES else "notice"
    return level, (
        f"{text}; a giant gradient in {counted(len(ids), 'row')}: {named(ids)}, with {percent(share)} of "
        "all rows' squared norm."
    )


def _first(scores: Scores, k: int, values: dict[str, Any]) -> tuple[Level, str]:
    first = concentration(scores)
    distinct = cardinality(scores, k)
    values |= {
        "most_often_first": first.most_frequent,
        "first_share": first.share,
        "distinct_first": first.distinct,
        f"distinct_top{k}_share": distinct,
    }
    level: Level = "good"
    if first.share > _FIRST_NOTICE:
        level = "warning" if first.share > _FIRST_WARNING else "notice"
    row = named([first.most_frequent])
    text = (
        f"Row {row} is first for {percent(first.share)} of {first.of} queries; {first.distinct} rows are "
        f"first for some query, and {percent(distinct)} of all top-{k} places go to different rows."
    )
    return level, text


def _like(
    scores: Scores, by: np.ndarray, what: str, name: str, values: dict[str, Any]
) -> tuple[Level, str]:
    rho = _spearman(np.abs(scores.values), by)
    values[f"spearman_with_{name}"] = rho
    if rho is None:
        return "good", f"All rows have the same {what}."
    level: Level = "good"
    if rho > _LIKE_NOTICE:
        level = "warning" if rho > _LIKE_WARNING else "notice"
    return level, f"A score's size goes with {what} at a rank correlation of {rho:.2f}."


def _spearman(values: np.ndarray, by: np.ndarray) -> float | None:
    """Mean over queries; None where it is not defined for any."""
    ranks, other = rankdata(values, axis=1), rankdata(by)
    ranks, other = ranks - ranks.mean(1, keepdims=True), other - other.mean()
    norms = np.sqrt((ranks**2).sum(1) * (other**2).sum())
    defined = norms > 0
    if not defined.any():
        return None
    return float(((ranks @ other)[defined] / norms[defined]).mean())
