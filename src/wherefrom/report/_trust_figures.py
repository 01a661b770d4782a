"""Figures of the founding paper's three mechanisms, drawn from what the checks measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from wherefrom.diagnose import Finding
from wherefrom.report._known import numbers
from wherefrom.report._lines import Axis, Lines, Measured, lines
from wherefrom.report._names import short

Values = Mapping[str, Any]
Checks = Mapping[str, Values]
"""Values by the name of the check that measured them."""

SHARE = (0.0, 1.0)
_MULTIPLE = "multiple of λ"


def figures_of(findings: Sequence[Finding]) -> tuple[Lines, ...]:
    """The figures that some findings have the values for; of values that do not fit, none."""
    checks = {one.check: one.values for one in findings}
    return tuple(figure for draw in _FIGURES if (figure := draw(checks)))


def _stages(values: Values) -> Axis:
    """The states of the model: by optimizer steps where they are known and grow, else one by one."""
    steps, stages = numbers(values.get("steps")), values.get("stages")
    grow = all(a < b for a, b in pairwise(steps))
    if steps and grow and all(map(math.isfinite, steps)):
        return Axis("optimizer steps", steps, tuple(f"{step:,.0f}" for step in steps))
    names = [short(str(one), 20) for one in stages] if isinstance(stages, list) else []
    return Axis("states of the model", tuple(map(float, range(len(names)))), tuple(names))


def _curvature(checks: Checks) -> Lines | None:
    energy, agreement = (
        _mapping(checks.get(name, {}).get("curve"))
        for name in ("curvature-energy", "curvature-agreement")
    )
    first = energy or agreement
    multiples = numbers(first.get(_MULTIPLE))
    if not all(m > 0 and math.isfinite(m) for m in multiples):
        return None
    axis = Axis(
        "multiple of the run’s own λ",
        tuple(math.log10(m) for m in multiples),
        tuple(f"{m:,.0f} λ" if m >= 10 else f"{m:.2g} λ" for m in multiples),
    )
    if numbers(agreement.get(_MULTIPLE)) != numbers(first.get(_MULTIPLE)):
        agreement = {}
    return lines(
        "What damping by λ leaves of curvature, and what that changes.",
        "Effective dimension d_λ over the number of training rows n, and the share of a query’s gradient "
        "in directions with σ > λ: 0 = nothing is left of curvature. Spearman’s correlation of scores with "
        "those without the Hessian, and with those that have λ in its place, block by block: 1 = it "
        "changes no ranking. 1 λ is the damping of this run.",
        axis,
        [
            Measured(
                "share, or correlation",
                (
                    axis.series("d_λ / n", numbers(energy.get("dimension per row"))),
                    axis.series("query gradient above λ", numbers(energy.get("query energy"))),
                    axis.series(
                        "Spearman, without the Hessian", numbers(agreement.get("spearman"))
                    ),
                    axis.series(
                        "Spearman, λ in its place",
                        numbers(agreement.get("spearman, blocks weighted")),
                    ),
                ),
                SHARE,
            )
        ],
        marked=[i for i, m in enumerate(multiples) if _whole(math.log10(m))],
    )


def _convergence(checks: Checks) -> Lines | None:
    values = checks.get("convergence", {})
    axis = _stages(values)
    spec = str(values.get("method"))
    along = _mapping(_mapping(values.get("methods")).get(spec))
    return lines(
        "Flat at the right end = the answers hold still while training ends.",
        f"How far the answers of {short(spec)} at each state are those of the final model: share of "
        "the top rows in common, and Spearman’s correlation over all rows; and, where rows carry classes, "
        "the share of queries whose first row has theirs. Means over queries.",
        axis,
        [
            Measured(
                "share, or correlation",
                (
                    axis.series("top rows in common", numbers(along.get("overlap"))),
                    axis.series("Spearman", numbers(along.get("spearman"))),
                    axis.series("class match", numbers(along.get("accuracy"))),
                ),
                SHARE,
            )
        ],
    )


def _gradient(checks: Checks) -> Lines | None:
    values = checks.get("convergence", {})
    axis = _stages(values)
    return lines(
        "At a minimum the full training gradient is 0.",
        "Its norm at each state, and how far it turned since the state before.",
        axis,
        [
            Measured("norm", (axis.series("norm", numbers(values.get("gradient_norm"))),)),
            Measured("degrees", (axis.series("turn", numbers(values.get("degrees_to_previous"))),)),
        ],
    )


def _behaviour(checks: Checks) -> Lines | None:
    values = checks.get("behaviour", {})
    axis = _stages(values)
    return lines(
        "Does what the model says move when its parameters do?",
        "How far all trained weights have moved; how far the model’s words are from those of the base "
        "model (KL divergence); how likely the queries’ responses are; and the share of queries that show "
        "what was taught.",
        axis,
        [
            Measured("‖ΔW‖", (axis.series("‖ΔW‖", numbers(values.get("norm"))),)),
            Measured(
                "KL, nats a token",
                (axis.series("KL to the base model", numbers(values.get("kl"))),),
            ),
            Measured(
                "log-probability, nats a token",
                (axis.series("log-probability", numbers(values.get("log_probability"))),),
                (),
            ),
            Measured(
                "share of queries",
                (axis.series("taught behaviour", numbers(values.get("behaviour"))),),
                SHARE,
            ),
        ],
    )


_FIGURES = (_curvature, _convergence, _gradient, _behaviour)


def _mapping(value: Any) -> Values:
    return value if isinstance(value, Mapping) else {}


def _whole(exponent: float) -> bool:
    return abs(exponent - round(exponent)) < 1e-6
