"""What the page shows of answers, rows, tokens and verdicts: every text made harmless first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wherefrom.answers import (
    Answer,
    Line,
    Token,
    TokenEvidence,
    group_numbers,
    strongest_places,
)
from wherefrom.app._marks import Mark
from wherefrom.data import Example
from wherefrom.diagnose import TraceCheck
from wherefrom.safetext import one_line, printable

EXCERPT = 420
"""Characters of a text that are shown at first."""
PIECE = 20_000
"""Characters that are sent when more is asked for."""
PARTS = ("prompt", "response")
_COPIES = 12
_NAME = 120
_TOKENS = 400
_AROUND = 12
_STEPS = (0.05, 0.25, 0.5, 0.75)
"""Shares of the strongest token from which a mark is that much stronger."""


def shown_lines(lines: Sequence[Line], marks: Mapping[str, Mark], answer: Answer) -> list[Any]:
    """Rows as evidence, with excerpts of their texts."""
    groups = group_numbers(answer.train)
    return [_line(line, marks, groups) for line in lines]


def _line(line: Line, marks: Mapping[str, Mark], groups: np.ndarray) -> dict[str, Any]:
    copies: list[int] = []
    if line.copies > 1:
        copies = [int(i) + 1 for i in np.flatnonzero(groups == line.group) if i + 1 != line.number]
    return {
        "rank": line.rank,
        "score": line.score,
        "removal": line.removal,
        "percentile": line.percentile,
        "number": line.number,
        "id": one_line(line.row, _NAME),
        "source": one_line(line.source, _NAME),
        "label": None if line.label is None else one_line(line.label, _NAME),
        "copies": copies[:_COPIES],
        "more_copies": max(0, len(copies) - _COPIES),
        "mark": marks[line.row].mark if line.row in marks else None,
        "prompt": excerpt(line.prompt),
        "response": excerpt(line.response),
    }


def excerpt(text: str) -> dict[str, Any]:
    """The beginning of a text, where the rest begins (None: nowhere), and how long it is."""
    return _cut(text, 0, EXCERPT)


def piece(row: Example, part: str, start: int) -> dict[str, Any]:
    """A piece of a row's text from a place on, where the next one begins, and how long it is."""
    return _cut(row.prompt if part == "prompt" else row.response, start, PIECE)


def _cut(text: str, start: int, size: int) -> dict[str, Any]:
    end = start + size
    return {
        "text": printable(text[start:end]),
        "next": end if end < len(text) else None,
        "length": len(text),
    }


def shown_marks(rows: Sequence[Example], marks: Mapping[str, Mark]) -> list[Any]:
    """The marked rows in the order of the training set."""
    return [
        {
            "number": number,
            "id": one_line(row.id, _NAME),
            "label": None if row.label is None else one_line(row.label, _NAME),
            "mark": marks[row.id].mark,
            "text": one_line(f"{row.prompt[:400]} → {row.response[:400]}", _NAME),
        }
        for number, row in enumerate(rows, start=1)
        if row.id in marks
    ]


def shown_verdict(found: TraceCheck) -> dict[str, Any]:
    """The verdict in a word, its chance, and its reasons."""
    verdict = found.verdict
    return {
        "word": verdict.word,
        "number": verdict.number,
        "reasons": [printable(reason, 1000) for reason in verdict.reasons],
        "rows": len(found.rows),
    }


def shown_tokens(evidence: TokenEvidence) -> dict[str, Any]:
    """Both texts behind a score, token by token."""
    notes = [printable(evidence.why_not)] if evidence.why_not else []
    sides = []
    names = ("The response of the question", "The training row")
    for name, tokens, missing in zip(
        names, (evidence.query, evidence.train), evidence.missing, strict=True
    ):
        if missing is None or all(token.value is None for token in tokens):
            continue
        sides.append({"name": name, "tokens": _side(tokens)})
        if abs(missing) > 1e-3 * abs(evidence.score):
            notes.append(f"{name}: the tokens add up to the score less {missing:.3g}.")
    return {"sides": sides, "notes": notes}


def _side(tokens: Sequence[Token]) -> list[dict[str, Any]]:
    """Tokens in order; of a long text the strongest with their neighbours, the rest summed up."""
    most = max(abs(token.value) for token in tokens if token.value is not None) or 1.0
    found: list[dict[str, Any]] = []
    last = -1
    for place in _chosen(tokens):
        if place > last + 1:
            found.append(_gap(tokens[last + 1 : place]))
        found.append(_token(tokens[place], most))
        last = place
    if last < len(tokens) - 1:
        found.append(_gap(tokens[last + 1 :]))
    return found


def _chosen(tokens: Sequence[Token]) -> list[int]:
    first = next(place for place, token in enumerate(tokens) if token.value is not None)
    # of a long text that nothing is said of, what stands next to the others is enough
    start = first - _AROUND if first > 2 * _AROUND else 0
    if len(tokens) - start <= _TOKENS:
        return list(range(start, len(tokens)))
    return strongest_places(tokens, _TOKENS, _AROUND)


def _token(token: Token, most: float) -> dict[str, Any]:
    text = printable(token.text, 60)
    if token.value is None:
        return {"text": text, "value": None, "step": 0}
    step = sum(abs(token.value) > share * most for share in _STEPS)
    return {"text": text, "value": token.value, "step": step if token.value > 0 else -step}


def _gap(tokens: Sequence[Token]) -> dict[str, Any]:
    values = [token.value for token in tokens if token.value is not None]
    return {"gap": len(tokens), "value": float(sum(values)) if values else None}
