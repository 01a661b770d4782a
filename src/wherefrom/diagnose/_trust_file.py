"""Reading what `wherefrom check` left in a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wherefrom.diagnose._trust import VERSION, Trust
from wherefrom.errors import DataError


def read_trust(path: Path) -> Trust | None:
    """The check of a run; None where there is none.

    Args:
        path: its `check.json`.

    Raises:
        DataError: the file is damaged, or of another version.
    """
    if not path.is_file():
        return None
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        version = held["version"]
        trust = Trust.from_json(held) if version == VERSION else None
        if trust is not None:
            _examine(trust)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: damaged ({type(error).__name__}: {error}). Make it again with `wherefrom check "
            f"{path.parent}`, or delete it."
        ) from error
    if trust is None:
        raise DataError(
            f"{path}: its layout is version {version!r}, and this wherefrom reads {VERSION}. Make it "
            f"again with `wherefrom check {path.parent}`, or delete it."
        )
    return trust


def _examine(trust: Trust) -> None:
    """Raises TypeError where JSON has one kind of value in the place of another."""
    verdicts = [trust.verdict, *(trace.verdict for trace in trust.traces)]
    texts = [trust.method, *(reason for one in verdicts for reason in one.reasons)]
    texts += [one.word for one in verdicts]
    for trace in trust.traces:
        texts += [trace.query, trace.method, *trace.rows]
    for finding in trust.findings:
        texts += [finding.check, finding.group, finding.level]
        texts += [finding.measured, finding.normal, finding.meaning, finding.advice]
        _demand(finding.values, Mapping)
    _demand(trust.made_from, Mapping)
    for text in [*texts, *trust.made_from.values()]:
        _demand(text, str)
    numbers = [trust.seconds, *(one.number for one in verdicts)]
    for spot in (trace.spot for trace in trust.traces if trace.spot):
        numbers += [spot.gain, spot.p_value, *spot.random, *spot.lexical]
    _demand(trust.k, int)
    for number in numbers:
        if number is not None:
            _demand(number, float, int)


def _demand(value: Any, *kinds: type) -> None:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(f"{value!r:.60} where {kinds[0].__name__} was expected")
