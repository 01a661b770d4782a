"""The verdict: what becomes of a trace's features, by a rule that was fitted on retraining."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from wherefrom.diagnose._features import FEATURES, Known
from wherefrom.diagnose._finding import Finding
from wherefrom.diagnose._trust import TraceCheck, Verdict, Word

FILE = "verdict.json"


@dataclass(frozen=True)
class Rule:
    """A logistic rule on one feature: docs/results/trust.md says what it was fitted and tested on.

    Attributes:
        feature: its name.
        mean: over the traces that the rule was fitted on.
        scale: standard deviation over them.
        weight: of the standardised feature, in log-odds.
        intercept: log-odds of an average trace.
        supported: from that chance on an answer is called supported.
        unsupported: up to that chance it is called not supported.
        fitted: on what.
    """

    feature: str
    mean: float
    scale: float
    weight: float
    intercept: float
    supported: float
    unsupported: float
    fitted: str

    def part(self, value: float) -> float:
        """Log-odds that a value adds to those of an average trace."""
        # beyond what was seen, nothing more is known
        return self.weight * max(-3.0, min(3.0, (value - self.mean) / self.scale))

    def chance(self, value: float) -> float:
        """Chance that retraining bears the answer out, between 0 and 1."""
        return 1 / (1 + math.exp(-self.intercept - self.part(value)))

    def word(self, chance: float) -> Word:
        """What a chance is called."""
        if chance >= self.supported:
            return "supported"
        return "not supported" if chance <= self.unsupported else "weak"


@cache
def shipped_rules() -> tuple[Rule, ...]:
    """The rules that come with the package; the first whose feature is known tells."""
    text = (files("wherefrom.diagnose") / FILE).read_text(encoding="utf-8")
    return tuple(Rule(**held) for held in json.loads(text))


def judge_trace(known: Known, rules: Sequence[Rule] | None = None) -> Verdict:
    """The verdict on one answer.

    Args:
        known: its features.
        rules: the first whose feature is known tells; the shipped ones when None.
    """
    rules = rules or shipped_rules()
    rule = _telling(known, rules)
    if rule is None:
        missing = (f"not known: {FEATURES[one.feature].about}" for one in rules)
        return Verdict("cannot tell", None, tuple(missing), dict(known))
    value = known[rule.feature]
    assert value is not None
    chance, one = rule.chance(value), FEATURES[rule.feature]
    side = "for" if rule.part(value) > 0 else "against"
    reason = f"{side}: {one.about}: {one.shown(value)} (on average {one.shown(rule.mean)})"
    return Verdict(rule.word(chance), chance, (reason,), dict(known))


def judge_run(
    findings: Sequence[Finding],
    traces: Sequence[TraceCheck],
    rules: Sequence[Rule] | None = None,
) -> Verdict:
    """The verdict on a run: nothing is supported where a check failed; else the mean of its answers.

    Args:
        findings: of the checks.
        traces: the answers that were looked at.
        rules: those that the answers were judged by; the shipped ones when None.
    """
    rules = rules or shipped_rules()
    failed = [one for one in findings if one.level == "failure"]
    warned = [f"{one.check}: {one.measured}" for one in findings if one.level == "warning"]
    if failed:
        return Verdict(
            "not supported", 0.0, (*(f"{one.check}: {one.measured}" for one in failed), *warned)
        )
    told = [one.verdict for one in traces if one.verdict.number is not None]
    rule = next((r for one in told if (r := _telling(one.features, rules))), rules[0])
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


def _telling(known: Known, rules: Sequence[Rule]) -> Rule | None:
    return next((one for one in rules if known.get(one.feature) is not None), None)
