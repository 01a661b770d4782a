"""Printing what retraining on cleaned rows changed."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from wherefrom.cli._options import Format
from wherefrom.cli._print import print_rows
from wherefrom.safetext import one_line

if TYPE_CHECKING:
    from wherefrom.run import Retrained

_UNDER = (
    "base, before, after: mean log-probability of the response's tokens, in nats, under the base model, "
    "the old run and the new one"
)
_SIDES = {"query": "queries", "good": "good answers"}


def print_retrained(found: Retrained, form: Format) -> None:
    """Prints every answer before and after; JSON is `retrained.json`."""
    if form is Format.json:
        print(json.dumps(found.to_json(), indent=2))
        return
    if form is Format.csv:
        lines = [asdict(one) for one in found.behaviour]
        print_rows(list(lines[0]), [list(line.values()) for line in lines], form)
        return
    rows = [
        [
            one.side,
            one_line(one.id, 30),
            one_line(one.prompt, 50),
            one_line(one.response, 40),
            *(round(value, 3) for value in (one.base, one.before, one.after)),
            round(one.after - one.before, 3),
            one_line(one.answer_before, 60),
            one_line(one.answer_after, 60),
        ]
        for one in found.behaviour
    ]
    names = ["of", "id", "prompt", "response", "base", "before", "after", "change"]
    print_rows([*names, "answered before", "answers now"], rows, form)
    print()
    for side in found.summary():
        count = side["queries"]
        print(
            f"{_SIDES[side['side']]}: {side['before']:.3f} → {side['after']:.3f} nats a token "
            f"(base {side['base']:.3f}); the answer is the response for {side['says_before']} → "
            f"{side['says_after']} of {count}, and another than before for {side['other_answers']}"
        )
        # in Markdown, lines that follow each other run together
        print(end="\n" if form is Format.md else "")
    print(f"trained on {found.rows_before} → {found.rows_after} rows")
    print(end="\n" if form is Format.md else "")
    print(_UNDER)
