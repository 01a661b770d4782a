"""Trust: what was found of a run, and the verdict on each of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from wherefrom.diagnose._finding import Finding

Word = Literal["supported", "weak", "not supported", "cannot tell"]
WORDS: tuple[Word, ...] = get_args(Word)
VERSION = 1
"""Of the layout of `check.json`."""


@dataclass(frozen=True)
class SpotCheck:
    """What a training step on an answer's top rows did to its log-probability.

    Gains are after − before in nats a token: positive = the rows push the model towards the response.

    Attributes:
        gain: by the top rows.
        random: by as many random rows, draw by draw.
        lexical: by as many of the rows nearest by words, for each way of measuring that.
        p_value: (1 + random draws that gain at least as much) / (1 + draws).
    """

    gain: float
    random: tuple[float, ...]
    lexical: tuple[float, ...]
    p_value: float


@dataclass(frozen=True)
class Verdict:
    """Whether an answer can be trusted.

    Attributes:
        word: in a word.
        number: chance that training again without the top rows lowers the response's log-probability
            further than random and lexical removals do, as fitted on traces of which that is known; None
            where nothing can be told.
        reasons: why, one line each, the weightiest first.
        features: what it was told from; None where unknown.
    """

    word: Word
    number: float | None
    reasons: tuple[str, ...]
    features: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class TraceCheck:
    """One answer and its verdict.

    Attributes:
        query: id of the query.
        method: spec of the method that gave the answer.
        rows: ids of its top rows, best first.
        verdict: on it.
        spot: the causal spot check; None where it was not made.
    """

    query: str
    method: str
    rows: tuple[str, ...]
    verdict: Verdict
    spot: SpotCheck | None = None

    def to_json(self) -> dict[str, Any]:
        """As `check.json` has it: NaN and Inf as null."""
        found: dict[str, Any] = _plain(asdict(self))
        return found


@dataclass(frozen=True)
class Trust:
    """All that a check of a run came to.

    Attributes:
        method: spec of the method whose answers were checked.
        k: how many top rows an answer consists of.
        verdict: on the run.
        findings: of every check, integrity first.
        traces: the answers that were looked at.
        seconds: how long it took.
        made_from: digests of what was checked, by what it is; empty where nobody noted them.
    """

    method: str
    k: int
    verdict: Verdict
    findings: Sequence[Finding]
    traces: Sequence[TraceCheck]
    seconds: float = 0.0
    made_from: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As `check.json` has it: NaN and Inf as null."""
        found: dict[str, Any] = _plain({"version": VERSION, **asdict(self)})
        return found

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Trust:
        """From what `to_json` gave.

        Raises:
            KeyError, TypeError: it is not that.
        """
        traces = [
            TraceCheck(
                one["query"],
                one["method"],
                tuple(one["rows"]),
                _verdict(one["verdict"]),
                None if one["spot"] is None else _spot(one["spot"]),
            )
            for one in held["traces"]
        ]
        findings = [Finding(**one) for one in held["findings"]]
        return cls(
            held["method"],
            held["k"],
            _verdict(held["verdict"]),
            findings,
            traces,
            held["seconds"],
            held.get("made_from", {}),
        )


def _verdict(held: Mapping[str, Any]) -> Verdict:
    return Verdict(**{**held, "reasons": tuple(held["reasons"])})


def _spot(held: Mapping[str, Any]) -> SpotCheck:
    return SpotCheck(held["gain"], tuple(held["random"]), tuple(held["lexical"]), held["p_value"])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
