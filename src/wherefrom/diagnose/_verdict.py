"""The verdict: what becomes of a trace's features, by a rule that was fitted on retraining."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from wherefrom.diagnose._features import FEATURES, Known
from wherefrom.diagnose._finding import Finding
from wherefrom.diagnose._trust import TraceCheck, Verdict, Word

FILE = "verdict.json"
_REASONS = 4


@dataclass(frozen=True)
class Term:
    """One feature's part in the rule.

    Attributes:
        feature: its name.
        mean: over the traces that the rule was fitted on.
        scale: standard deviation over them.
        weight: of the standardised feature, in log-odds.
    """

    feature: str
    mean: float
    scale: float
    weight: float

    def part(self, value: float | None) -> float:
        """Log-odds that a value adds; none where it is unknown."""
        if value is None:
            return 0.0
        # beyond what was seen, nothing more is known
        return self.weight * max(-3.0, min(3.0, (value - self.mean) / self.scale))


@dataclass(frozen=True)
class Rule:
    """A logistic rule on features: see docs/trust.md for what it was fitted and tested on.

    Attributes:
        terms: its features.
        intercept: log-odds of a trace that is average in all of them.
        supported: from that chance on an answer is called supported.
        unsupported: up to that chance it is called not supported.
        known: share of the weights whose features must be known to tell anything.
        fitted: on what.
    """

    terms: tuple[Term, ...]
    intercept: float
    supported: float
    unsupported: float
    known: float
    fitted: str

    @classmethod
    def from_json(cls, held: dict[str, Any]) -> Rule:
        """From what `verdict.json` holds."""
        return cls(**{**held, "terms": tuple(Term(**one) for one in held["terms"])})

    def chance(self, known: Known) -> float:
        """Chance that retraining bears the answer out, between 0 and 1."""
        odds = self.intercept + sum(term.part(known.get(term.feature)) for term in self.terms)
        return 1 / (1 + math.exp(-odds))

    def tells(self, known: Known) -> bool:
        """Whether enough is known to tell."""
        weights = {term.feature: abs(term.weight) for term in self.terms}
        there = sum(w for name, w in weights.items() if known.get(name) is not None)
        return there >= self.known * sum(weights.values())

    def word(self, chance: float) -> Word:
        """What a chance is called."""
        if chance >= self.supported:
            return "supported"
        return "not supported" if chance <= self.unsupported else "weak"


@cache
def shipped_rule() -> Rule:
    """The rule that comes with the package."""
    text = (files("wherefrom.diagnose") / FILE).read_text(encoding="utf-8")
    return Rule.from_json(json.loads(text))


def judge_trace(known: Known, rule: Rule | None = None) -> Verdict:
    """The verdict on one answer.

    Args:
        known: its features.
        rule: the shipped one when None.
    """
    rule = rule or shipped_rule()
    if not rule.tells(known):
        missing = [FEATURES[t.feature].about for t in rule.terms if known.get(t.feature) is None]
        reasons = (
            f"{len(missing)} of the {len(rule.terms)} numbers that it is told from are not known",
            *(f"not known: {about}" for about in missing),
        )
        return Verdict("cannot tell", None, reasons, dict(known))
    chance = rule.chance(known)
    parts = [(term.part(known.get(term.feature)), term) for term in rule.terms]
    weighty = sorted((p for p in parts if abs(p[0]) > 0.1), key=lambda p: -abs(p[0]))[:_REASONS]
    reasons = tuple(_reason(part, term, known) for part, term in weighty)
    return Verdict(rule.word(chance), chance, reasons, dict(known))


def judge_run(
    findings: Sequence[Finding], traces: Sequence[TraceCheck], rule: Rule | None = None
) -> Verdict:
    """The verdict on a run: nothing is supported where a check failed; else the mean of its answers.

    Args:
        findings: of the checks.
        traces: the answers that were looked at.
        rule: the shipped one when None.
    """
    rule = rule or shipped_rule()
    failed = [one for one in findings if one.level == "failure"]
    warned = [f"{one.check}: {one.measured}" for one in findings if one.level == "warning"]
    if failed:
        return Verdict(
            "not supported", 0.0, (*(f"{one.check}: {one.measured}" for one in failed), *warned)
        )
    told = [one.verdict for one in traces if one.verdict.number is not None]
    if not told:
        return Verdict("cannot tell", None, ("no answer could be told", *warned))
    chance = sum(one.number or 0.0 for one in told) / len(told)
    counts = {word: sum(one.word == word for one in told) for word in ("supported", "weak")}
    line = (
        f"answers looked at: {len(traces)}; supported {counts['supported']}, weak {counts['weak']}, "
        f"not supported {len(told) - sum(counts.values())}"
    )
    if len(told) < len(traces):
        line += f", cannot tell {len(traces) - len(told)}"
    return Verdict(rule.word(chance), chance, (line, *warned))


def _reason(part: float, term: Term, known: Known) -> str:
    value = known[term.feature]
    assert value is not None
    one = FEATURES[term.feature]
    side = "for" if part > 0 else "against"
    advice = f"; {one.advice}" if one.advice and part < 0 else ""
    return f"{side}: {one.about}: {one.shown(value)} (on average {one.shown(term.mean)}){advice}"
