"""Compare: another tool's ranking beside ours, and which side training again supports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from wherefrom.answers import LEVEL, Answer, Comparison, Effect, compared, in_order_of
from wherefrom.counterfactual import Asked, without_random, without_top
from wherefrom.data import Example
from wherefrom.diagnose import spot_checks
from wherefrom.errors import SettingError, WherefromError
from wherefrom.methods import Evidence, parse_method, score_all
from wherefrom.run._ask import LEXICAL, ask_queries
from wherefrom.run._finetune_stage import require_plain_base
from wherefrom.run._patching import patching
from wherefrom.scores import Scores, read_matrix

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_KEYS = ("query", "query_id", "id")


def compare(
    run: Run,
    asked: Sequence[Answer] | Sequence[Example],
    other: Scores,
    *,
    method: str | None = None,
    k: int = 5,
    seeds: int = 1,
    draws: int = 20,
) -> Comparison:
    """Sets another tool's scores beside ours and trains again without the first rows of either.

    Left out are our first k rows, theirs, the nearest by words, and as many random ones, `draws` times;
    each is one retraining a query and seed (random ones serve all queries), and none is done twice. A run
    that cannot be trained again has a spot check where its training was recorded, else the rankings alone.

    Args:
        run: the run.
        asked: answers of `Run.trace`, or prompts and responses to trace.
        other: of the same queries and training rows, in any order; higher = pushed more towards.
        method: ours; the answers' leading one, or the run's, when None.
        k: first rows that are left out.
        seeds: of each retraining, the run's own first.
        draws: random sets; the fewest that can tell are 19.

    Raises:
        SettingError: there is nothing to compare, or k or draws do not fit.
        IdentityError: the scores are of other queries or rows.
    """
    if not asked:
        raise SettingError("there is no answer to compare rankings of.")
    if (1 / (1 + draws)) > LEVEL:
        raise SettingError(f"{draws} random sets cannot tell anything at 95 %; give at least 19.")
    if not 1 <= k < len(run.train):
        raise SettingError(f"k is {k} of {len(run.train)} rows; give fewer than all, at least 1.")
    queries, ours = _ours(run, asked, method)
    theirs = in_order_of(other, ours)
    if theirs.method == ours.method:
        theirs = replace(theirs, method=f"{theirs.method} (theirs)")
    words = _words(run, queries)
    effects, why_not = _effects(run, queries, [ours, theirs, words], k, seeds, draws)
    return compared(queries, ours, theirs, k, effects, why_not)


def read_other(
    path: Path,
    query_ids: Sequence[str],
    train_ids: Sequence[str],
    sign: Literal["positive", "negative"] = "positive",
) -> Scores:
    """Reads another tool's scores; of one query, a file of one line will do whatever id that line has.

    Raises:
        DataError: the file cannot be read, or does not fit.
        SettingError: the sign or the file's ending is none of those allowed.
    """
    ids = tuple(query_ids)
    own = _only_id(path) if len(ids) == 1 else None
    found = read_matrix(path, ids if own is None else (own,), tuple(train_ids), sign)
    return replace(found, query_ids=ids)


def _only_id(path: Path) -> str | None:
    """The id of the only line of a table; None where it has none, or there are several."""
    import pandas as pd

    if not path.is_file() or path.suffix.lower() not in (".csv", ".parquet"):
        return None
    try:
        if path.suffix.lower() == ".csv":
            frame = pd.read_csv(path, dtype=str, nrows=2)
        else:
            frame = pd.read_parquet(path)
    except (ValueError, OSError):
        # whoever reads all of it says what is wrong
        return None
    if len(frame) != 1:
        return None
    if frame.index.name in _KEYS:
        return str(frame.index[0])
    return next((str(frame[name].iloc[0]) for name in frame.columns if name in _KEYS), None)


def _ours(
    run: Run, asked: Sequence[Answer] | Sequence[Example], method: str | None
) -> tuple[list[Example], Scores]:
    answers: list[Answer] = []
    for one in asked:
        answers += [one] if isinstance(one, Answer) else []
    if len(answers) < len(asked):
        examples = [one for one in asked if isinstance(one, Example)]
        if len(examples) < len(asked):
            raise SettingError("give either answers or prompts with responses, not both.")
        answers = run.trace_all(examples, None if method is None else [method])
    each = [answer.of(method) for answer in answers]
    scores = replace(
        each[0],
        values=np.concatenate([one.values for one in each]),
        query_ids=tuple(answer.query.id for answer in answers),
    )
    return [answer.query for answer in answers], scores


def _words(run: Run, queries: Sequence[Example]) -> Scores:
    evidence = Evidence(run.train, queries, run.config.recipes()[0])
    found = score_all([parse_method(LEXICAL)], evidence, quiet=True).scores[0]
    return replace(found, method="nearest by words")


def _effects(
    run: Run, queries: Sequence[Example], sides: Sequence[Scores], k: int, seeds: int, draws: int
) -> tuple[list[Effect] | None, str]:
    """What each side's first rows do to each query, and why it was not measured by retraining."""
    settings = run.config.finetune
    try:
        if settings is not None:
            require_plain_base(run)
            each = [settings.seed + i for i in range(seeds)]
            asked = ask_queries(run, queries, "log_probability", each)
            return _by_retraining(asked, sides, k, draws), ""
    except SettingError as error:
        return None, str(error)
    why = (
        "wherefrom did not fine-tune this model, so nobody knows how to train it again without rows"
    )
    try:
        patched, ending = patching(run, queries)
        ours, theirs = (
            spot_checks(patched, one, [sides[2]], ending, k, draws) for one in sides[:2]
        )
    except WherefromError as error:
        return None, f"{why}; and there is no spot check: {error}"
    found = [
        Effect("spot check", one.gain, other.gain, one.lexical[0], one.random)
        for one, other in zip(ours, theirs, strict=True)
    ]
    return found, why


def _by_retraining(asked: Asked, sides: Sequence[Scores], k: int, draws: int) -> list[Effect]:
    n, queries = len(asked.train_ids), len(asked.query_ids)
    lines = [
        without_random(n, k, draws),
        *(without_top(asked.own(one), k, asked.train_ids) for one in sides),
    ]
    full = asked.full()
    drops = (full[:, None] - asked.outcomes(np.concatenate(lines), "removals")).mean(0)
    found = []
    for q in range(queries):
        # line q of a side leaves out what it ranks first for query q
        ours, theirs, words = (float(drops[draws + i * queries + q, q]) for i in range(len(sides)))
        random = tuple(map(float, drops[:draws, q]))
        found.append(Effect("retraining", ours, theirs, words, random))
    return found
