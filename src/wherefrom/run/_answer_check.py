"""Checking answers: the spot check and the verdict, of a run's queries or of one that was traced."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from wherefrom.counterfactual import Ending
from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe
from wherefrom.diagnose import (
    LEXICAL,
    Answers,
    NotMeasured,
    SpotCheck,
    Subject,
    TraceCheck,
    Verdict,
    features,
    judge_trace,
    spot_checks,
)
from wherefrom.errors import IdentityError, SettingError, WherefromError
from wherefrom.methods import parse_method
from wherefrom.progress import say
from wherefrom.run._ask import ask_queries
from wherefrom.run._gather import Read
from wherefrom.run._index_stage import make_passes
from wherefrom.run._stages import along_the_run, gradients_at, indexed
from wherefrom.run._states import PlannedPass, State, merge
from wherefrom.run._subject import subject_of
from wherefrom.scores import Scores, ranking
from wherefrom.signals import Policy, Side, Source

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_SHARE = 0.05
DRAWS = 20
"""Random sets of a spot check."""


def answer_size(run: Run, k: int | None = None) -> int:
    """How many top rows an answer consists of: a twentieth of the rows where nobody says.

    Raises:
        SettingError: all rows, or none, would be top rows.
    """
    n = len(run.train)
    if n < 2:
        raise SettingError(
            f"{run.path}: has one training row, so no answer could be another; train on more."
        )
    k = k or max(1, round(_SHARE * n))
    if k >= n:
        raise SettingError(f"an answer of {k} rows takes all of {n}; give a lower --k.")
    return k


def check_answers(
    run: Run,
    queries: Sequence[Example],
    scores: Scores,
    asked: Read,
    *,
    verify: bool = False,
    draws: int = DRAWS,
) -> list[TraceCheck]:
    """The verdicts on traced answers, from what the index holds of the training rows.

    Where none can be given, the answers stand and the verdicts say why.

    Args:
        run: whose.
        queries: prompts and responses.
        scores: of the method that gave the answers, these queries × training rows.
        asked: captures the queries' signals.
        verify: step the model on the top rows, random rows and the nearest by words.
        draws: random sets of the spot check.
    """
    mend = (
        "`wherefrom trace --verify`, or `wherefrom check` of a run with queries, makes the passes along "
        "the run that a verdict is best told from"
    )
    try:
        found = _checked(run, queries, scores, asked, draws if verify else 0)
    except IdentityError:
        why = f"some of what is stored is of another model than the run has now: {mend}"
        return _untold(scores, why)
    except (WherefromError, NotMeasured) as error:
        return _untold(scores, str(error))
    lacking = _lacking(run)
    return [_with_mend(one, mend) if lacking else one for one in found]


def make_verdict_passes(run: Run) -> None:
    """Makes the passes over the training rows that a verdict is told from, where they were not made yet."""
    lacking = _lacking(run)
    if lacking and run.policy is not Policy.GRAM:
        make_passes(run, run.config.recipes()[0], lacking, "the verdict")


def _lacking(run: Run) -> list[PlannedPass]:
    """Passes over the training rows that a verdict is told from, and that the index has not."""
    recipe = run.config.recipes()[0]
    wanted = [gradients_at(state)[0] for state in along_the_run(run, recipe)]
    return [one for one in wanted if not run.is_stored(recipe, one)]


def _with_mend(found: TraceCheck, mend: str) -> TraceCheck:
    told = found.verdict
    if told.word == "cannot tell":
        reasons = (mend, *told.reasons)
    else:
        reasons = (*told.reasons, f"not told from the whole run: {mend}")
    return replace(found, verdict=replace(told, reasons=reasons))


def _untold(scores: Scores, why: str) -> list[TraceCheck]:
    """No verdict, and why."""
    return [
        TraceCheck(query, scores.method, tuple(rows), Verdict("cannot tell", None, (why,)))
        for query, rows in zip(scores.query_ids, scores.top(1).ids.tolist(), strict=True)
    ]


def _checked(
    run: Run, queries: Sequence[Example], scores: Scores, asked: Read, draws: int
) -> list[TraceCheck]:
    """The same; without draws there is no spot check."""
    recipe = run.config.recipes()[0]
    alone = merge(parse_method(scores.method).alone.needs, run.states(recipe))
    passes = _stored(run, recipe, alone, along_the_run(run, recipe))
    # the end stands in where no state along the run was passed over
    passes = passes or _stored(run, recipe, alone, [run.states(recipe).final])

    def read(one: PlannedPass) -> tuple[Source, FactorSums | None]:
        return run.stored(recipe, one) if one.side is Side.TRAIN else asked(one)

    subject = subject_of(
        run,
        recipe,
        queries,
        scores.method,
        answer_size(run),
        read,
        lambda state: passes.get(state.name, []),
        known={scores.method: scores},
    )
    return judged(subject, queries, spots_of(run, subject, queries, draws) if draws else {})


def _stored(
    run: Run, recipe: Recipe, own: Sequence[PlannedPass], states: Sequence[State]
) -> dict[str, list[PlannedPass]]:
    """The passes that a verdict can be told from, by state; without states that the index lacks."""
    found = {one.name: indexed(run, recipe, own, one) for one in states}
    return {name: passes for name, passes in found.items() if passes}


def spots_of(
    run: Run, subject: Subject, queries: Sequence[Example], draws: int
) -> dict[str, SpotCheck]:
    """The spot check of answers to queries, by the queries' ids; empty where none can be made."""
    settings = run.config.finetune
    if settings is None:
        say(
            "no spot check: wherefrom did not fine-tune this model, so its learning rate and optimizer "
            "state are not known."
        )
        return {}
    asked = ask_queries(run, queries, "log_probability", [settings.seed])
    lexical = [subject.scores(spec) for spec in LEXICAL]
    scores, ending = subject.scores(subject.method), Ending.saved(run.trajectory)
    found = spot_checks(asked, scores, lexical, ending, subject.k, draws)
    return {query.id: spot for query, spot in zip(queries, found, strict=True)}


def judged(
    subject: Subject, queries: Sequence[Example], spots: Mapping[str, SpotCheck]
) -> list[TraceCheck]:
    """The verdict on the answers to some of a subject's queries."""
    with warnings.catch_warnings():
        # correlations of scores that are all alike: such a feature is unknown, and that is all
        warnings.simplefilter("ignore", RuntimeWarning)
        known = features(Answers(subject, spots))
    scores = subject.scores(subject.method)
    order = ranking(scores.values, scores.train_ids)[:, : subject.k]
    places = {id: place for place, id in enumerate(scores.query_ids)}
    return [
        TraceCheck(
            query.id,
            subject.method,
            tuple(scores.train_ids[i] for i in order[places[query.id]]),
            judge_trace(known[places[query.id]]),
            spots.get(query.id),
        )
        for query in queries
    ]
