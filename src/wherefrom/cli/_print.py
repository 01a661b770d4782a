"""Printing: tables for people, JSON and Markdown for the rest."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wherefrom.cli._options import Format
from wherefrom.safetext import one_line, printable

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from wherefrom.data import Example
    from wherefrom.run import Findings
    from wherefrom.scores import Ranked

_SHORT = {
    "coverage_paper": "cov. (paper)",
    "average_precision": "AP",
    "auroc": "AUROC",
    "mrr": "MRR",
    "filtering_auprc": "filter. AUPRC",
    "distinct_top1": "distinct",
    "cardinality": "card.",
}

_IN_TABLES = (
    *("accuracy", "coverage", "average_precision", "auroc", "distinct_top1"),
    *(f"cardinality@{k}" for k in range(1, 11)),
)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: Format) -> None:
    """Prints rows under named columns; text is stripped of terminal escapes."""
    if form is Format.json:
        records = [dict(zip(columns, row, strict=True)) for row in rows]
        print(json.dumps(records, indent=2, default=str))
        return
    if form is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([["" if v is None else v for v in row] for row in rows])
        return
    texts = [[printable(_cell(value)) for value in row] for row in rows]
    if form is Format.md:
        print("| " + " | ".join(columns) + " |")
        print("|" + "---|" * len(columns))
        for line in texts:
            print("| " + " | ".join(t.replace("|", "\\|").replace("\n", " ") for t in line) + " |")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    numeric = [all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    for name, number in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for line in texts:
        table.add_row(*(Text(text) for text in line))
    _console().print(table)


def print_known(columns: Mapping[str, Sequence[Any]]) -> None:
    """Prints a table for people of named columns, less those in which nothing stands."""
    told = {name: held for name, held in columns.items() if any(v not in (None, "") for v in held)}
    print_rows(list(told), list(zip(*told.values(), strict=True)), Format.table)


def print_leaderboard(frame: pd.DataFrame, keys: Sequence[str], form: Format) -> None:
    """Prints an evaluation: a line a method, a column a metric, best first.

    A table for people has the metrics that fit beside each other, Markdown all of them. JSON has one
    record for each method and metric, with the ends of the interval.
    """
    if form is Format.json:
        print(frame.to_json(orient="records", indent=2))
        return
    metrics = list(dict.fromkeys(frame["metric"]))
    if form is Format.table:
        metrics = [name for name in _IN_TABLES if name in metrics]
    by_method: dict[tuple[Any, ...], dict[str, str]] = {}
    order: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for line in frame.to_dict("records"):
        key = tuple(line[k] for k in keys)
        cell = f"{100 * line['value']:.0f}" if line["value"] == line["value"] else "–"
        if line["low"] == line["low"]:
            cell += f" [{100 * line['low']:.0f}–{100 * line['high']:.0f}]"
        by_method.setdefault(key, {})[line["metric"]] = cell
        if line["metric"] in ("accuracy", "coverage"):
            order[key] = (*order.get(key, ()), -line["value"])
    # tasks and recipes in the order in which they were asked for
    place = {prefix: i for i, prefix in enumerate(dict.fromkeys(key[:-1] for key in by_method))}
    lines = sorted(by_method, key=lambda key: (place[key[:-1]], *order.get(key, ())))
    rows = [[*key, *(by_method[key].get(m, "–") for m in metrics)] for key in lines]
    print_rows([*keys, *(_short(m) for m in metrics)], rows, form)
    if form is Format.table:
        print(
            "percent [95 % interval over queries]; distinct: rows that are ever ranked first, in percent "
            "of the queries"
        )
        if any(m.startswith("cardinality@") for m in metrics):
            print(
                "card.@k: distinct rows among the first k of all queries, in percent of these places"
            )
        print("all metrics: --format md or json, and the report")


def _short(metric: str) -> str:
    name, at, k = metric.partition("@")
    return _SHORT.get(name, name) + at + k


_UNDER = {
    "lds": "Spearman over subsets between the summed scores of the kept rows and the outcome, mean over "
    "queries [95 %: subsets, seeds and queries]",
    "leave-out": "drop: outcome on all rows − without the top k; excess: over as many random rows; beyond: "
    "queries that drop further than 95 % of the random removals",
    "tail-patch": "gain: outcome after steps on the top k rows − before; excess: over as many random rows",
    "brittleness": "median: rows whose removal flips half of the queries; flipped: share that flips at all",
    "leave-one-out": "Spearman over rows between score and outcome lost without the row, mean over queries",
}
_SHOWN = {
    "lds": ("method", "value"),
    "leave-out": ("method", "k", "drop", "excess", "p", "beyond"),
    "tail-patch": ("method", "k", "gain", "excess", "p", "beyond"),
}


def print_findings(found: Findings, form: Format) -> None:
    """Prints what retraining said, a table for each part."""
    if form is Format.json:
        parts = {
            part: json.loads(frame.to_json(orient="records"))
            for part, frame in found.frames.items()
        }
        ceiling = found.ceiling and found.ceiling._asdict()
        print(json.dumps({**parts, "ceiling": ceiling, "gap": found.gap}, indent=2))
        return
    for part, frame in found.frames.items():
        print(f"\n{part}" if form is Format.table else f"\n### {part}\n")
        columns = _SHOWN.get(part, tuple(frame.columns))
        rows = [
            [_with_interval(line, name) for name in columns] for line in frame.to_dict("records")
        ]
        named = ["LDS" if name == "value" else name for name in columns]
        print_rows(named, rows, form)
        # in Markdown, a line right under a table would become one of its rows
        print(("" if form is Format.table else "\n") + _UNDER[part])
    if found.ceiling is not None and found.ceiling.ceiling == found.ceiling.ceiling:
        c = found.ceiling
        print(
            f"noise ceiling of LDS {c.ceiling:.2f} [{c.low:.2f}–{c.high:.2f}]; two halves of the seeds "
            f"agree at {c.agreement:.2f}"
        )
    elif found.ceiling is not None:
        print("no noise ceiling with one seed; give --seeds 2 or more")


def _with_interval(line: dict[Any, Any], name: str) -> Any:
    ends = {"value": ("low", "high"), "drop": ("low", "high"), "gain": ("low", "high")}
    ends["excess"] = ("excess_low", "excess_high")
    value = line[name]
    if name not in ends:
        return value
    low, high = (line[end] for end in ends[name])
    shown = f"{value:.3f}"
    return shown if low != low else f"{shown} [{low:.3f}–{high:.3f}]"


def print_ranked(title: str, found: Ranked, train: Sequence[Example]) -> None:
    """Prints the ranked rows of the first query of `found`."""
    from rich.text import Text

    by_id = {row.id: row for row in train}
    _console().print(Text(title, style="bold"))
    rows = []
    for rank, (index, value) in enumerate(
        zip(found.indices[0], found.values[0], strict=True), start=1
    ):
        row = by_id[found.train_ids[index]]
        rows.append(
            [
                rank,
                float(value),
                row.id,
                row.label or "",
                one_line(row.prompt, 60),
                one_line(row.response, 40),
            ]
        )
    print_rows(["rank", "score", "row", "class", "prompt", "response"], rows, Format.table)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = 160
    return console


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
