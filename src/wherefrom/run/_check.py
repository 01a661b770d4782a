"""Check: can a run's answers be trusted?"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from wherefrom.data import Recipe
from wherefrom.diagnose import (
    GROUPS,
    Finding,
    Subject,
    TraceCheck,
    Trust,
    judge_run,
    list_checks,
    run_checks,
)
from wherefrom.errors import NonFiniteError, SettingError
from wherefrom.methods import Method, Resource, parse_method
from wherefrom.run._answer_check import answer_size, judged, spots_of
from wherefrom.run._ask import spread
from wherefrom.run._checked_scores import checked_scores, passes_of
from wherefrom.run._index_stage import make_passes
from wherefrom.run._kept_check import keep_trust
from wherefrom.run._leftovers import clear_leftovers
from wherefrom.run._randomised import not_randomised, randomised_scores
from wherefrom.run._seeds import require_finetune, scores_of_seeds
from wherefrom.run._stages import stages_of, states_of, with_own
from wherefrom.run._states import merge
from wherefrom.run._subject import subject_of
from wherefrom.scores import Scores
from wherefrom.signals import Policy

if TYPE_CHECKING:
    from wherefrom.run._run import Run


@dataclass(frozen=True)
class CheckPlan:
    """What is checked, and how thoroughly.

    Attributes:
        method: spec of the method whose answers are checked; the run's leading one when None.
        k: how many top rows an answer consists of; a twentieth of the rows when None.
        queries: how many of the run's queries get a verdict, evenly spread; all when None.
        verify: step the model on top rows, random rows and the nearest by words (the spot check).
        draws: random sets of the spot check.
        randomised: pass over the model with permuted weights too.
        seeds: under how many other seeds the fine-tune is done again and asked the same.
        checks: names of the checks; all when None.
    """

    method: str | None = None
    k: int | None = None
    queries: int | None = 8
    verify: bool = True
    draws: int = 20
    randomised: bool = True
    seeds: int = 0
    checks: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("k", "queries", "draws"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingError(f"{name} is {value}; give at least 1.")
        if self.seeds < 0:
            raise SettingError(f"seeds is {self.seeds}; give 0 or more.")


def check(run: Run, plan: CheckPlan | None = None) -> Trust:
    """Checks a run and gives a verdict on its answers; writes `check.json` in its folder.

    Passes that are missing (before fine-tuning, at the checkpoints) are made and kept.

    Args:
        run: with a model, rows and queries.
        plan: what is checked.

    Raises:
        SettingError: the run has no model yet or no queries, or the method cannot be scored.
    """
    plan = plan or CheckPlan()
    begun = time.perf_counter()
    if not run.queries:
        raise SettingError(f"{run.path}: no queries to check. Make the run with --queries.")
    if run.policy is Policy.GRAM:
        raise SettingError(
            f"{run.path}: checks look at gradients, and they were let go (policy gram). Index with "
            "--policy exact or projected and --restart."
        )
    if plan.seeds:
        require_finetune(run)
    recipe = run.config.recipes()[0]
    try:
        subject = bare_subject(run, recipe, plan)
    except NonFiniteError as error:
        return keep_trust(run, _broken(_method(run, plan).spec, plan, str(error), begun))
    findings = run_checks(subject, plan.checks, ("integrity",))
    traces: list[TraceCheck] = []
    if not any(one.check == "weights" and one.level == "failure" for one in findings):
        subject = whole_subject(run, recipe, plan, subject)
        findings += run_checks(subject, plan.checks, GROUPS[1:])
        traces = check_traces(run, subject, plan)
    verdict = judge_run(findings, traces)
    if plan.checks is not None:
        # a verdict on a part of the checks must not pass for one on all
        few = f"of {len(list_checks())} checks only these were made: {', '.join(plan.checks)}"
        verdict = replace(verdict, reasons=(*verdict.reasons, few))
    trust = Trust(
        subject.method,
        subject.k,
        verdict,
        findings,
        traces,
        time.perf_counter() - begun,
    )
    return keep_trust(run, trust)


def _method(run: Run, plan: CheckPlan) -> Method:
    return parse_method(plan.method or run.leading)


def _broken(method: str, plan: CheckPlan, what: str, begun: float) -> Trust:
    """Of a model that cannot even be loaded, since its weights are no numbers."""
    found = Finding(
        "weights",
        "integrity",
        "failure",
        what,
        normal="Every weight is a number.",
        meaning="The model computes nothing, so no score of it means anything.",
        advice="Fine-tune again with a lower --learning-rate.",
        values={"fault": "NaN weights"},
    )
    return Trust(
        method, plan.k or 0, judge_run([found], []), [found], [], time.perf_counter() - begun
    )


def bare_subject(run: Run, recipe: Recipe, plan: CheckPlan) -> Subject:
    """A run as checks see it before any pass: rows, weights, and whom to ask."""
    return subject_of(
        run,
        recipe,
        run.queries,
        _method(run, plan).spec,
        answer_size(run, plan.k),
        partial(run.stored, recipe),
        lambda state: [],
    )


def whole_subject(run: Run, recipe: Recipe, plan: CheckPlan, subject: Subject) -> Subject:
    """The same with the signals of every state, passed over where that was not done yet."""
    method = _method(run, plan)
    own = passes_of(run, recipe, method)
    alone = merge(method.alone.needs, run.states(recipe))
    passes = [one for state in states_of(run, recipe) for one in with_own(state, alone)]
    clear_leftovers(run, recipe, [*passes, *own])
    make_passes(run, recipe, passes, "checks")
    known = {method.spec: checked_scores(run, recipe, method, own)}
    stages = stages_of(
        run,
        recipe,
        partial(run.stored, recipe),
        partial(with_own, own=alone),
        moments=Resource.MOMENTS in method.requires,
    )
    found: dict[str, Scores] = {}
    if plan.randomised and not_randomised(method) is None:
        found = randomised_scores(run, recipe, [method])
    others = scores_of_seeds(run, method.spec, plan.seeds)
    return replace(
        subject,
        stages=stages,
        known=known,
        randomised=found,
        seeds={method.spec: others} if others else {},
    )


def check_traces(run: Run, subject: Subject, plan: CheckPlan) -> list[TraceCheck]:
    """A verdict on the answers to some of the queries."""
    chosen = spread(subject.queries, plan.queries)
    spots = spots_of(run, subject, chosen, plan.draws) if plan.verify else {}
    return judged(subject, chosen, spots)
