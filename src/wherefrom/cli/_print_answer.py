"""Printing answers: rows with their numbers, groups, sources, tokens and the verdict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from wherefrom.answers import calibration_of, size_of_removal
from wherefrom.atomic import atomic_path
from wherefrom.cli._options import Format
from wherefrom.cli._print import _console, print_known, print_rows
from wherefrom.cli._print_trust import print_verdict, verdict_cells
from wherefrom.cli._trace import TraceFormat
from wherefrom.cli._written import printed
from wherefrom.progress import say
from wherefrom.safetext import one_line, printable

if TYPE_CHECKING:
    from wherefrom.answers import Answer, Line, Share, Token, TokenEvidence

Evidence = Sequence[Sequence["TokenEvidence"]] | None

_STRONG = 0.5
"""Of the largest part, what a token must carry to be shown in the stronger colour."""
_WEAK = 0.15
_NAMED = 6
"""Tokens named beneath a row."""
_REMOVAL = (
    "Δlogp: predicted change of the response's log-probability, in nats a token, without the row"
)
_UNSCALED = ", until `wherefrom counterfactual RUN --parts lds` has set the scale"
_PERCENTILE = (
    "pct: share of unrelated queries for which the row scores lower than here, each query's scores in "
    "units of their own spread"
)


def print_answers(
    answers: Sequence[Answer], evidence: Evidence, by: str | None, k: int, form: Format
) -> None:
    """Prints answers: for people one after another, else as one table or list.

    Args:
        answers: what `trace` gave.
        evidence: of each answer, its top rows taken apart; None where nobody asked.
        by: a column that scores are added up over.
        k: rows at each end.
        form: how.
    """
    if form is not Format.table:
        if form is Format.json:
            print(json.dumps(_records(answers, evidence, by, k), indent=2, default=str))
            return
        if by is not None:
            lines = [
                {
                    "query": one.query.id,
                    "method": scores.method,
                    "unit": scores.unit,
                    **asdict(share),
                }
                for one in answers
                for scores in one.scores
                for share in one.by(by, scores.method, k)
            ]
            print_rows(list(lines[0]), [list(line.values()) for line in lines], form)
            return
        columns, rows = _flat(answers, k, form)
        print_rows(columns, rows, form)
        return
    for place, answer in enumerate(answers):
        if place:
            print("\n" + "─" * 60)
        _print_answer(answer, evidence[place] if evidence is not None else None, by, k)
    print(_under(answers, k))


def write_answers(
    answers: Sequence[Answer],
    evidence: Evidence,
    by: str | None,
    k: int,
    path: Path,
    form: TraceFormat,
) -> None:
    """Writes answers to a file, whole or not at all; see `print_answers`."""
    if form is TraceFormat.parquet:
        import pandas as pd

        columns, rows = _flat(answers, k, Format.csv)
        with atomic_path(path) as temporary:
            pd.DataFrame(rows, columns=columns).to_parquet(temporary, index=False)
        say(f"answers: {path}")
        return
    plain = Format(form.value)
    printed(lambda: print_answers(answers, evidence, by, k, plain), path, "answers")


def _print_answer(
    answer: Answer, evidence: Sequence[TokenEvidence] | None, by: str | None, k: int
) -> None:
    if answer.query.source:
        print(f"{one_line(answer.query.source)}: {one_line(answer.query.prompt, 200)}")
    said = "the model says" if answer.generated else "response"
    print(f"{said}: {one_line(answer.query.response, 300)}\n")
    for scores in answer.scores:
        unit = f"{scores.method} ({scores.unit})"
        for title, opponents in (("proponents", False), ("opponents", True)):
            _console().print(Text(f"{title}, by {one_line(unit, 200)}", style="bold"))
            _print_lines(answer.lines(k, scores.method, opponents=opponents))
            print()
        if by is not None:
            _console().print(Text(f"by {one_line(by)}, {scores.method}", style="bold"))
            _print_shares(answer.by(by, scores.method, k))
            print()
    _print_copies(answer, k)
    if evidence:
        _print_tokens(evidence)
    print_verdict(answer.trust.verdict, answer.trust.spot, len(answer.trust.rows))


def _print_lines(lines: Sequence[Line]) -> None:
    columns: dict[str, Any] = {
        "rank": [line.rank for line in lines],
        "score": [line.score for line in lines],
        "Δlogp": [line.removal for line in lines],
        "pct": [
            None if line.percentile is None else round(100 * line.percentile) for line in lines
        ],
        "row": [line.number for line in lines],
        "id": [one_line(line.row, 30) for line in lines],
        "line": [one_line(line.source, 30) for line in lines],
        "class": [one_line(line.label or "", 20) for line in lines],
        "prompt": [one_line(line.prompt, 60) for line in lines],
        "response": [one_line(line.response, 40) for line in lines],
    }
    print_known(columns)


def _print_shares(shares: Sequence[Share]) -> None:
    rows = [
        [one_line(s.value, 40), s.rows, s.total, s.mean, s.removal, s.top, round(s.expected, 1)]
        for s in shares
    ]
    print_rows(["value", "rows", "total", "mean", "Δlogp", "top", "by chance"], rows, Format.table)


def _print_copies(answer: Answer, k: int) -> None:
    for group in answer.groups(k):
        if len(group.rows) > 1:
            together = f"{group.score:.4g}"
            if group.removal is not None:
                together += f", Δlogp {group.removal:.4g}"
            rows = one_line(", ".join(group.rows), 120)
            print(f"near-duplicates, as one cause: {rows} (score {together})")


def _print_tokens(evidence: Sequence[TokenEvidence]) -> None:
    console = _console()
    console.print(Text("which tokens carry it", style="bold"))
    for one in evidence:
        console.print(Text(f"{one.row}: score {one.score:.4g}"))
        for name, side in (("  response", one.query), ("  row", one.train)):
            counted = [token for token in side if token.value is not None]
            if not counted:
                continue
            console.print(Text(f"{name}: ") + _highlighted(side))
            strongest = sorted(counted, key=lambda t: -abs(t.value or 0.0))[:_NAMED]
            named = ", ".join(f"{_word(t)} {t.value:+.3g}" for t in strongest)
            console.print(Text(f"  {' ' * len(name)}{named}", style="dim"))
    print()


def _highlighted(side: Sequence[Token]) -> Text:
    largest = max((abs(t.value) for t in side if t.value is not None), default=0.0) or 1.0
    found = Text()
    for token in side:
        share = 0.0 if token.value is None else token.value / largest
        colour = "green" if share > 0 else "red"
        style = ""
        if abs(share) >= _STRONG:
            style = f"bold black on {colour}"
        elif abs(share) >= _WEAK:
            style = f"underline {colour}"
        found.append(" ".join(printable(token.text).split("\n")), style=style)
    return found


def _word(token: Token) -> str:
    return repr(one_line(token.text, 24) or " ")


def _under(answers: Sequence[Answer], k: int) -> str:
    lines = [
        line for one in answers for scores in one.scores for line in one.lines(k, scores.method)
    ]
    told = ["score: higher = pushed the model more towards this response"]
    if any(line.removal is not None for line in lines):
        told.append(_REMOVAL + _scale(answers))
    told += [_PERCENTILE] * any(line.percentile is not None for line in lines)
    return "\n".join(told)


def _scale(answers: Sequence[Answer]) -> str:
    told = [
        (scores, size_of_removal(scores)) for scores in answers[0].scores if size_of_removal(scores)
    ]
    if all(calibration_of(scores) is None for scores, _ in told):
        return f"; {told[0][1]}{_UNSCALED}"
    return "".join(f"; {scores.method} {size}" for scores, size in told)


def _flat(answers: Sequence[Answer], k: int, form: Format) -> tuple[list[str], list[list[Any]]]:
    """One line for each answer, method, end and row."""
    columns: list[str] = []
    rows = []
    for answer in answers:
        for scores in answer.scores:
            # the verdict is on what the leading method found
            leading = scores is answer.scores[0]
            trust = verdict_cells(answer.trust if leading else None, form)
            for opponents in (False, True):
                for line in answer.lines(k, scores.method, opponents=opponents):
                    held = {**asdict(line), "traced_response": answer.query.response, **trust}
                    columns = list(held)
                    rows.append(list(held.values()))
    return columns, rows


def _records(
    answers: Sequence[Answer], evidence: Evidence, by: str | None, k: int
) -> list[dict[str, Any]]:
    columns, rows = _flat(answers, k, Format.json)
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    if by is None and evidence is None:
        return records
    found = []
    for place, answer in enumerate(answers):
        held: dict[str, Any] = {"query": answer.query.id}
        held["rows"] = [record for record in records if record["query"] == answer.query.id]
        if by is not None:
            held["by"] = {
                scores.method: [asdict(share) for share in answer.by(by, scores.method, k)]
                for scores in answer.scores
            }
        if evidence is not None:
            held["tokens"] = [asdict(one) for one in evidence[place]]
        found.append(held)
    return found
