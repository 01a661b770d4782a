"""Self-influence: what every training row does to its own response, by each method of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.curvature import FactorSums
from wherefrom.data import Example, Recipe, Renderer
from wherefrom.errors import DataError, SettingError
from wherefrom.methods import Method, Resource, Trait, score_all
from wherefrom.progress import say
from wherefrom.run._gather import assemble, in_memory
from wherefrom.run._index import bytes_per_row
from wherefrom.run._states import PlannedPass, States, merge
from wherefrom.signals import Block, Kind, Need, Policy, Side, Source

if TYPE_CHECKING:
    from wherefrom.run._run import Run

FLAG = "mislabelled"
"""The column of the training rows that says which are wrong; the task `mislabelled:TASK` sets it."""
_BYTES = 1e9
_ROWS = 1024
"""Most rows that are asked at once: of each, one block's gradient and a line of scores are in memory."""
_CONSTANT = 1e-4
_SAID = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


def self_influence(run: Run, recipe: Recipe, methods: Sequence[Method]) -> dict[str, np.ndarray]:
    """Scores every training row as if it were its own query.

    The training rows' stored signals serve for both sides, so no pass is made; only what was captured of
    queries alone is captured here, in memory. Rows are asked in slices, so memory holds a slice of
    the n × n scores and never all of them. Source: Koh and Liang 2017, arXiv 1703.04730; Pruthi et
    al. 2020, arXiv 2002.08484.

    Args:
        run: an indexed run.
        recipe: whose signals.
        methods: those that say nothing of a row by itself are named and left out: see
            `no_self_score`, and those that score all rows alike against themselves, as a cosine does.

    Returns:
        By spec, float64, one for each training row; higher = odder, in the method's own unit.

    Raises:
        SettingError: no method is left.
        StoreError: the training rows' signals were not captured.
    """
    left = {m.spec: why for m in methods if (why := no_self_score(m)) is not None}
    if run.policy is Policy.GRAM:
        gradients = {m.spec for m in methods if any(n.kind is Kind.GRADIENT for n in m.needs)}
        left |= dict.fromkeys(gradients, "looks at gradients, and the policy gram let them go")
    chosen = [m for m in methods if m.spec not in left]
    found = _diagonals(run, recipe, chosen) if chosen else {}
    for spec, values in found.items():
        if np.ptp(values) <= _CONSTANT * np.abs(values).max():
            left[spec] = "scores every row alike against itself, as a cosine does"
    for spec, why in left.items():
        say(f"no self-influence by {spec}: {why}")
    kept = {spec: values for spec, values in found.items() if spec not in left}
    if not kept:
        raise SettingError(
            f"{run.path}: none of its methods says anything of a row by itself. Index it with "
            "gradient_dot or influence."
        )
    return kept


def no_self_score(m: Method) -> str | None:
    """Why a method's score of a row against itself means nothing; None where it does.

    A method that ignores the query gives the row itself the score that it gives to all: it stays.
    """
    lacking = sorted(m.requires - {Resource.MOMENTS, Resource.EMBEDDER})
    if lacking:
        return f"needs {lacking[0].value}"
    if not m.needs:
        return "does not look at the model"
    if Trait.QUERY_FREE in m.traits:
        return None
    meaningless = (Trait.NO_EVIDENCE, Trait.QUERY_SET, Trait.RESPONSE_BLIND)
    return next((trait.value for trait in meaningless if trait in m.traits), None)


def mislabelled_flags(rows: Sequence[Example]) -> np.ndarray:
    """Which rows are mislabelled, as their column `mislabelled` says: boolean, one for each.

    Raises:
        DataError: a row has no such column, or it says something else than true or false; or all or
            none are mislabelled.
    """
    found = []
    for row in rows:
        value = row.metadata.get(FLAG)
        # a CSV file has only texts, and some tools write numbers
        said = _SAID.get(str(value).strip().lower())
        if said is None:
            has = (
                f"its column {FLAG} says {value!r}"
                if FLAG in row.metadata
                else "has no such column"
            )
            raise DataError(
                f"mislabelled rows cannot be looked for: {row.source or 'training row'} (id {row.id!r}): "
                f"{has}. Give every training row a column {FLAG} with true or false, or use the task "
                "mislabelled:TASK."
            )
        found.append(said)
    if all(found) or not any(found):
        raise DataError(
            f"mislabelled rows cannot be looked for: {sum(found)} of {len(found)} training rows are "
            f"flagged in the column {FLAG}; there must be some that are and some that are not."
        )
    return np.array(found, dtype=bool)


def _diagonals(run: Run, recipe: Recipe, methods: Sequence[Method]) -> dict[str, np.ndarray]:
    states, n = run.states(recipe), len(run.train)
    width = _slice_width(run, recipe, methods, states)
    say(f"self-influence ({recipe.name}): {len(methods)} methods, {n} rows, {width} at a time")
    found = {m.spec: np.empty(n) for m in methods}
    for start in range(0, n, width):
        rows = slice(start, min(start + width, n))
        evidence = assemble(
            methods,
            states,
            {Side.TRAIN: run.train, Side.QUERY: run.train[rows]},
            recipe,
            _Reader(run, recipe, rows),
            run.model.model,
        )
        asked = np.arange(rows.stop - start)
        for scores in score_all(methods, evidence).scores:
            found[scores.method][rows] = scores.values[asked, start + asked]
    return found


def _slice_width(run: Run, recipe: Recipe, methods: Sequence[Method], states: States) -> int:
    """How many rows are asked at once."""
    row_bytes = 8.0 * len(run.train) * len(methods)
    needs = {need for m in methods for need in m.needs}
    captured = [
        one.needs
        for one in merge(needs, states)
        if one.side is Side.QUERY and not run.is_stored(recipe, _as_train(one))
    ]
    if captured:
        tokens = Renderer(run.model.tokenizer, recipe).render_all(run.train)
        row_bytes += sum(bytes_per_row(run.model, tokens, needs, run.passing) for needs in captured)
    return int(min(_ROWS, len(run.train), max(1, _BYTES // row_bytes)))


def _as_train(one: PlannedPass) -> PlannedPass:
    needs = frozenset(Need(need.kind, need.target, Side.TRAIN) for need in one.needs)
    return PlannedPass(one.state, Side.TRAIN, needs)


class _Reader:
    """Signals of a pass; on the query side those of some training rows."""

    def __init__(self, run: Run, recipe: Recipe, rows: slice) -> None:
        self._run, self._recipe, self._rows = run, recipe, rows

    def __call__(self, one: PlannedPass) -> tuple[Source, FactorSums | None]:
        run, recipe = self._run, self._recipe
        if one.side is not Side.QUERY:
            return run.stored(recipe, one)
        if run.is_stored(recipe, _as_train(one)):
            source, _ = run.stored(recipe, _as_train(one))
            return _Slice(source, self._rows), None
        rows = {Side.QUERY: run.train[self._rows]}
        renderer = Renderer(run.model.tokenizer, recipe)
        return in_memory(run.model, renderer, rows, run.passing)(one)


class _Slice:
    """Some rows of a source, as a source."""

    def __init__(self, source: Source, rows: slice) -> None:
        self._source, self._rows = source, rows
        self.ids = source.ids[rows]
        self.blocks: tuple[Block, ...] = source.blocks
        self.identity: dict[str, Any] = source.identity

    def names(self) -> tuple[str, ...]:
        return self._source.names()

    def read(self, name: str) -> np.ndarray:
        found: np.ndarray | None = None
        # never the whole array: of some kinds of signal a row is a megabyte
        for numbers, values in self._source.stream(name):
            if found is None:
                found = np.zeros((len(self.ids), *values.shape[1:]), values.dtype)
            inside = (numbers >= self._rows.start) & (numbers < self._rows.stop)
            found[numbers[inside] - self._rows.start] = values[inside]
        assert found is not None, "a run has rows"
        return found

    def stream(self, name: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield np.arange(len(self.ids)), self.read(name)

    def chunks(self, names: Sequence[str]) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        yield np.arange(len(self.ids)), {name: self.read(name) for name in names}
