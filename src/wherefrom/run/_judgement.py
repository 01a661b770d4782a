"""Judgement: what every metric says of scores, one line for each number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wherefrom.metrics import (
    Estimate,
    Retrainings,
    Truth,
    agreement,
    cardinality,
    concentration,
    evaluate,
    lds_frame,
    mislabel_detection,
    noise_ceiling,
    pooled_interval,
    rank_agreement,
)
from wherefrom.scores import Scores

if TYPE_CHECKING:
    import pandas as pd

Line = dict[str, Any]
Part = Literal[
    "class match", "concentration", "retraining", "randomisation", "mislabelled", "agreement"
]
COLUMNS = (
    *("part", "recipe", "method", "against", "metric"),
    *("value", "low", "high", "queries", "undefined", "rows"),
)
DEPTH = 10
"""How many rows of each query `cardinality` and `top_overlap` look at, where there are as many."""
_UNKNOWN = Estimate(np.nan, np.nan, np.nan)


def judge(
    scores: Sequence[Scores], truth: Truth | None = None, retrainings: Retrainings | None = None
) -> list[Line]:
    """Judges methods side by side by all that needs nothing but their scores.

    Args:
        scores: of one method or several, for the same queries and rows.
        truth: which rows should be found; None where rows carry no class.
        retrainings: what became of models trained on subsets of the rows; None where nobody knows.

    Returns:
        Lines of `class match`, `concentration`, `retraining` and, of several methods, `agreement`.

    Raises:
        IdentityError: scores are of other rows or queries than each other or than the retrainings.
        SettingError: two methods have one name.
    """
    lines: list[Line] = []
    if truth is not None:
        lines += class_lines(evaluate(scores, truth), len(truth.relevance.T))
    for one in scores:
        lines += _concentration(one)
    if retrainings is not None:
        lines += _retraining(scores, retrainings)
    return lines + (_agreement(scores) if len(scores) > 1 else [])


def class_lines(evaluated: pd.DataFrame, rows: int) -> list[Line]:
    """The lines of an evaluation by labels.

    Args:
        evaluated: what `wherefrom.metrics.evaluate` gave.
        rows: number of training rows.
    """
    lines: list[Line] = []
    for held in evaluated.to_dict("records"):
        line: Line = {"part": "class match", "rows": rows, "against": None}
        lines.append(line | {str(name): value for name, value in held.items()})
    return lines


def randomisation_lines(scores: Scores, randomised: Scores) -> list[Line]:
    """The model-randomisation test: does a method say something else of a model that knows nothing?

    Spearman's correlation over training rows between the scores and those of the same method under
    randomised weights, mean over queries: about 0 where the scores come from what the model learnt, 1
    where they are the same whatever it learnt. The interval resamples queries, not the randomised
    weights. Source: Adebayo et al. 2018, arXiv 1810.03292, for training-data attribution Hanawa et
    al. 2021, arXiv 2006.04528; the measure is that of quanda, arXiv 2410.07158.

    Args:
        scores: of the model.
        randomised: of the model with randomised weights, for the same queries and rows.

    Raises:
        IdentityError: the two are of different queries or rows.
    """
    values = rank_agreement(scores, randomised)
    # resamples are drawn by place; sorted by id, they do not depend on the order of the queries
    order = sorted(range(len(values)), key=scores.query_ids.__getitem__)
    found = Estimate(*pooled_interval([values[order]]))
    undefined = int((~np.isfinite(values)).sum())
    return [_line("randomisation", scores, "randomised_spearman", found, undefined)]


def mislabelled_lines(method: str, self_influence: np.ndarray, flags: np.ndarray) -> list[Line]:
    """Self-influence as a detector of mislabelled rows: see `mislabel_detection`.

    Args:
        method: whose self-influence.
        self_influence: one for each training row; higher = odder.
        flags: boolean, one for each row: is it mislabelled?

    Raises:
        SettingError: all or none of the rows are mislabelled.
    """
    found = mislabel_detection(self_influence, flags)
    values = {
        "mislabelled_auroc": found.auroc,
        "mislabelled_average_precision": found.average_precision,
        "mislabelled_found@10%": Estimate(found.found_in_10, np.nan, np.nan),
        "mislabelled_found@20%": Estimate(found.found_in_20, np.nan, np.nan),
        "mislabelled_found@30%": Estimate(found.found_in_30, np.nan, np.nan),
    }
    about = {"part": "mislabelled", "method": method, "rows": len(flags)}
    return [{**about, "metric": name, **value._asdict()} for name, value in values.items()]


def mislabelled_share(flags: np.ndarray) -> Line:
    """How many rows are mislabelled: the average precision of chance."""
    share = Estimate(float(flags.mean()), np.nan, np.nan)
    about = {"part": "mislabelled", "metric": "mislabelled_share", "rows": len(flags)}
    return about | share._asdict()


def judgement_frame(lines: Iterable[Line]) -> pd.DataFrame:
    """Lines as a table with the columns `COLUMNS`; what a line does not say is missing."""
    import pandas as pd

    frame = pd.DataFrame(list(lines), columns=list(COLUMNS))
    counts = ("queries", "undefined", "rows")
    texts = ("recipe", "method", "against")
    return frame.astype(dict.fromkeys(counts, "Int64")).assign(
        **{name: frame[name].astype(object).where(frame[name].notna(), None) for name in texts}
    )


def distinct_line(scores: Scores) -> Line:
    """The share of distinct rows among those ranked first; no interval."""
    first = concentration(scores)
    return {
        "method": scores.method,
        "metric": "distinct_top1",
        "value": first.distinct / first.of,
        "low": float("nan"),
        "high": float("nan"),
        "queries": first.of,
        "undefined": 0,
    }


def _concentration(scores: Scores) -> list[Line]:
    k = min(DEPTH, len(scores.train_ids))
    shared = Estimate(cardinality(scores, k), np.nan, np.nan)
    first: Line = {"part": "concentration", "rows": len(scores.train_ids)}
    return [
        first | distinct_line(scores),
        _line("concentration", scores, f"cardinality@{k}", shared, 0),
    ]


def _retraining(scores: Sequence[Scores], retrainings: Retrainings) -> list[Line]:
    rows = len(retrainings.train_ids)
    about: Line = {"part": "retraining", "rows": rows, "queries": len(retrainings.query_ids)}
    keys = ("method", "value", "low", "high", "undefined")
    lines = [
        about | {"metric": "lds"} | {key: held[key] for key in keys}
        for held in lds_frame(scores, retrainings).to_dict("records")
    ]
    ceiling = noise_ceiling(retrainings)
    limit = Estimate(ceiling.ceiling, ceiling.low, ceiling.high)
    return [*lines, about | {"metric": "lds_ceiling"} | limit._asdict()]


def _agreement(scores: Sequence[Scores]) -> list[Line]:
    k = min(DEPTH, len(scores[0].train_ids))
    measures = {
        "spearman": agreement(scores, "spearman").to_numpy(),
        f"top_overlap@{k}": agreement(scores, "top", k).to_numpy(),
        "rbo": agreement(scores, "rbo").to_numpy(),
    }
    lines: list[Line] = []
    for a, one in enumerate(scores):
        for b in range(a + 1, len(scores)):
            for name, found in measures.items():
                value = Estimate(float(found[a, b]), np.nan, np.nan)
                line = _line("agreement", one, name, value, None)
                lines.append(line | {"against": scores[b].method})
    return lines


def _line(part: Part, scores: Scores, metric: str, value: Estimate, undefined: int | None) -> Line:
    return {
        "part": part,
        "method": scores.method,
        "metric": metric,
        **value._asdict(),
        "queries": len(scores.query_ids),
        "undefined": undefined,
        "rows": len(scores.train_ids),
    }
