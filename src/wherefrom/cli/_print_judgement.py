"""Printing a judgement: a table for each part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wherefrom.cli._options import Format
from wherefrom.cli._print import print_leaderboard, print_rows

if TYPE_CHECKING:
    import pandas as pd

_MOST_PAIRS = 15
"""More pairs of methods than that are not shown to people: then the nearest other method of each."""
_COLUMNS = {
    "lds": "LDS",
    "randomised_spearman": "Spearman",
    "mislabelled_auroc": "AUROC",
    "mislabelled_average_precision": "AP",
    "mislabelled_found@10%": "in first 10 %",
    "mislabelled_found@20%": "20 %",
    "mislabelled_found@30%": "30 %",
    "spearman": "Spearman",
    "rbo": "RBO",
}
_TITLES = {
    "retraining": "foretelling retraining",
    "randomisation": "randomised weights",
    "mislabelled": "mislabelled rows",
    "agreement": "rank agreement",
}
_UNDER = {
    "retraining": "LDS: Spearman over subsets between the summed scores of the kept rows and the "
    "outcome, mean over queries [95 %: subsets, seeds and queries]",
    "randomisation": "Spearman between the scores and those under randomised weights (of a run: the "
    "trained ones, permuted), mean over queries [95 %: queries]; 1 = says the same whatever was learnt",
    "mislabelled": "AUROC and AP of self-influence as a detector [95 %: rows]; share of the mislabelled "
    "rows among the first 10, 20, 30 % of all",
    "agreement": "means over queries of Spearman's correlation, of the share of the first rows in "
    "common, and of rank-biased overlap (p = 0.9); no intervals",
}


def print_judgement(frame: pd.DataFrame, form: Format) -> None:
    """Prints a table for each part; JSON has one record for each number."""
    if form is Format.json:
        print(frame.to_json(orient="records", indent=2))
        return
    keys = ("recipe", "method") if frame["recipe"].nunique() > 1 else ("method",)
    ranked = frame[frame["part"].isin(["class match", "concentration"])]
    if len(ranked):
        print_leaderboard(ranked, keys, form)
    parts = [part for part in _TITLES if (frame["part"] == part).any()]
    for part in parts:
        lines = frame[frame["part"] == part]
        title = _TITLES[part] if form is Format.table else f"### {_TITLES[part]}\n"
        print(title if part == parts[0] and not len(ranked) else f"\n{title}")
        of_all = lines[lines["method"].isna()]
        lines = lines[lines["method"].notna()]
        # of several recipes, each says the same of all methods
        told = dict.fromkeys(_of_all(record) for record in of_all.to_dict("records"))
        notes = [_UNDER[part], *told]
        if part == "agreement":
            notes += _print_agreement(lines, keys, form)
        else:
            _print_part(lines, keys, form)
        # in Markdown, a line right under a table is a row of it
        print("\n".join(notes) if form is Format.table else "\n" + "\n\n".join(notes))


def _print_part(lines: pd.DataFrame, keys: Sequence[str], form: Format) -> None:
    metrics = list(dict.fromkeys(lines["metric"]))
    cells: dict[tuple[Any, ...], dict[str, str]] = {}
    order: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for record in lines.to_dict("records"):
        key = tuple(record[name] for name in keys)
        cells.setdefault(key, {})[record["metric"]] = _estimate(record)
        # best first by the first metric; of randomised weights a high value is a bad one
        value = record["value"] if record["part"] == "randomisation" else -record["value"]
        order.setdefault(key, (*key[:-1], value if value == value else float("inf")))
    rows = [[*key, *(cells[key].get(name, "–") for name in metrics)] for key in cells]
    rows.sort(key=lambda row: order[tuple(row[: len(keys)])])
    print_rows([*keys, *(_COLUMNS.get(name, name) for name in metrics)], rows, form)


def _print_agreement(lines: pd.DataFrame, keys: Sequence[str], form: Format) -> list[str]:
    """Prints the pairs; gives notes for underneath."""
    metrics = list(dict.fromkeys(lines["metric"]))
    pairs: dict[tuple[Any, ...], dict[str, float]] = {}
    for record in lines.to_dict("records"):
        key = (*(record[name] for name in keys), record["against"])
        pairs.setdefault(key, {})[record["metric"]] = record["value"]
    first = metrics[0]
    ranked = sorted(pairs, key=lambda key: -_or_least(pairs[key][first]))
    shown, head = {key: key for key in ranked}, "with"
    if form is Format.table and len(pairs) > _MOST_PAIRS:
        shown, head = _nearest(ranked), "most like"
    rows = [
        [*told, *(_number(pairs[key][name]) for name in metrics)] for told, key in shown.items()
    ]
    print_rows([*keys, head, *(_column(name) for name in metrics)], rows, form)
    if head == "with":
        return []
    return [f"of {len(ranked)} pairs the nearest of each method; all: --format md or json"]


def _nearest(ranked: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Of pairs, nearest first, that of each method: as told from its side, and the pair."""
    found: dict[tuple[Any, ...], tuple[tuple[Any, ...], tuple[Any, ...]]] = {}
    for key in ranked:
        *before, one, other = key
        found.setdefault((*before, one), ((*before, one, other), key))
        found.setdefault((*before, other), ((*before, other, one), key))
    return dict(found.values())


def _of_all(record: dict[Any, Any]) -> str:
    known = record["value"] == record["value"]
    if record["metric"] == "lds_ceiling":
        if not known:
            return "no noise ceiling with one seed; retrain with --seeds 2 or more"
        return f"noise ceiling of LDS {_estimate(record)}"
    count = round(record["value"] * record["rows"])
    return (
        f"{count} of {record['rows']} rows are mislabelled; of chance: AUROC 0.5, AP "
        f"{record['value']:.2f}, 0.1, 0.2, 0.3"
    )


def _estimate(record: dict[Any, Any]) -> str:
    text = _number(record["value"])
    low, high = record["low"], record["high"]
    return text if low != low or text == "–" else f"{text} [{low:.2f}–{high:.2f}]"


def _number(value: float) -> str:
    return f"{value:.2f}" if value == value else "–"


def _or_least(value: float) -> float:
    return value if value == value else -float("inf")


def _column(metric: str) -> str:
    name, _, depth = metric.partition("@")
    return f"top {depth}" if name == "top_overlap" else _COLUMNS.get(metric, metric)
