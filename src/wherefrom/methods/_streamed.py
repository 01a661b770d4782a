"""Streaming: the ends of every query's scores over training rows that do not fit memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from wherefrom.errors import NonFiniteError, SettingError, StoreError
from wherefrom.methods._block import BlockMethod
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import Method
from wherefrom.methods._score import about, points_of, require_one_model
from wherefrom.methods._state import State
from wherefrom.methods._workers import workers
from wherefrom.progress import Advance, track
from wherefrom.scores import Outermost, Ranked, TopK, tiebreaks
from wherefrom.signals import Side

_SLICE = 1024
"""Rows that are scored at once, so that their products stay in the cache."""
Chunk = tuple[np.ndarray, list[dict[str, np.ndarray]]]
"""Row numbers, and the arrays of these rows at every state."""


def cannot_stream(method: Method) -> str | None:
    """Why a method cannot score rows that pass by, or None."""
    if not isinstance(method, BlockMethod):
        return "it looks at all rows at once"
    if method.raw_gradients:
        return "it works on the gradients of all rows at once"
    if method.aggregate != "sum":
        return f"aggregate={method.aggregate} needs every row's rank in every layer"
    if method.form == "dual":
        return "form=dual needs the products of all rows with each other"
    return None


def score_top(
    methods: Sequence[Method],
    evidence: Evidence,
    k: int = 100,
    *,
    memory: float = 4e9,
    quiet: bool = False,
) -> list[TopK]:
    """The k highest and the k lowest scores of every query; training signals are read a chunk at a time.

    Every method is taken in its primal form. What it needs of all rows (mean, covariance, norms) is fitted
    in a walk over each block, with sums in float64; then all blocks' rows pass by together and are scored
    in float32. Memory holds the fits, a few chunks, and the best rows so far, however many rows there are;
    their ids and, under normalise=row, their norms are kept too. A method whose score is linear in a row's
    gradient costs one product a block.

    Args:
        methods: what to run; `cannot_stream` says which cannot be.
        evidence: rows, signals and recipe.
        k: rows kept at each end.
        memory: bytes that the fits may take.
        quiet: show no bar.

    Raises:
        IdentityError: training and query signals come from different models, adapters or templates.
        SettingError: a method cannot be streamed, or not within the memory, or needs other signals.
        StoreError: states of the model have their rows in different chunks.
        NonFiniteError: a method gave NaN or Inf.
    """
    if k < 1:
        raise SettingError(f"k must be at least 1, not {k}.")
    chosen = [_streamed(m) for m in methods]
    require_one_model(evidence)
    if not chosen:
        return []
    states: list[State] = []
    for point in dict.fromkeys(evidence.points()):
        here = [m for m in chosen if point in points_of(m, evidence)]
        if here:
            states.append(State(here, point, evidence, memory))
    train_ids = states[0].point.source(Side.TRAIN).ids
    keys = tiebreaks(train_ids)
    label = None if quiet else "score rows"
    with track(label, len(train_ids)) as advance:
        walk = _Walk(chosen, states, evidence, advance)
        ends = walk.run(k, keys)
    found = []
    for m in chosen:
        ranked = [
            Ranked(*ends[m.spec, lowest].ranked(), _ids(evidence), train_ids, m.spec)
            for lowest in (False, True)
        ]
        settings = about(m, evidence.recipe, walk.measured(m))
        found.append(TopK(ranked[0], ranked[1], len(train_ids), settings, m.scale))
    return found


def _streamed(m: Method) -> BlockMethod:
    why = cannot_stream(m)
    if why is not None or not isinstance(m, BlockMethod):
        raise SettingError(
            f"{m.spec} cannot score rows that pass by: {why}. Leave it out, or score fewer rows, which fit "
            "memory."
        )
    return m


def _ids(evidence: Evidence) -> tuple[str, ...]:
    return tuple(row.id for row in evidence.query_rows)


class _Walk:
    """All rows, once, scored by every method at every state it looks at."""

    def __init__(
        self,
        methods: Sequence[BlockMethod],
        states: Sequence[State],
        evidence: Evidence,
        advance: Advance,
    ) -> None:
        self._methods = methods
        self._states = states
        self._evidence = evidence
        self._advance = advance
        self._lock = Lock()
        self._chunks = _together(states)
        self._query_ids = _ids(evidence)

    def run(self, k: int, keys: np.ndarray) -> dict[tuple[str, bool], Outermost]:
        """Both ends of every method's scores, `True` the lowest; workers take chunks in turn."""
        count = workers()

        def work() -> dict[tuple[str, bool], Outermost]:
            queries = len(self._query_ids)
            ends = {
                (m.spec, lowest): Outermost(queries, k, keys, lowest=lowest)
                for m in self._methods
                for lowest in (False, True)
            }
            for rows, arrays in iter(self._next, None):
                for start in range(0, len(rows), _SLICE):
                    at = slice(start, start + _SLICE)
                    self._slice(
                        rows[at], [{n: v[at] for n, v in held.items()} for held in arrays], ends
                    )
            return ends

        if count < 2:
            return work()
        with threadpool_limits(1), ThreadPoolExecutor(count) as pool:
            futures = [pool.submit(work) for _ in range(count)]
            try:
                ends, *others = (future.result() for future in futures)
            finally:
                # whoever fails stops the others
                with self._lock:
                    self._chunks = iter(())
        for other in others:
            for key, held in other.items():
                ends[key].merge(held)
        return ends

    def measured(self, m: BlockMethod) -> dict[str, Any]:
        """What a method found out about itself while it was fitted."""
        last = points_of(m, self._evidence, base=False)[-1]
        (state,) = (state for state in self._states if state.point is last)
        sums, count = state.numbers(m)
        found = m.measured(sums, count) if count else {}
        if m.checkpoints != "final":
            found = found | {"states": [p.name for p in points_of(m, self._evidence, base=False)]}
        return found

    def _next(self) -> Chunk | None:
        """The chunks that come next, joined where they are small; one worker reads at a time."""
        with self._lock:
            found: list[Chunk] = []
            while sum(len(rows) for rows, _ in found) < _SLICE:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._advance(len(chunk[0]))
                found.append(chunk)
        return _joined(found) if len(found) > 1 else next(iter(found), None)

    def _slice(
        self,
        rows: np.ndarray,
        arrays: list[dict[str, np.ndarray]],
        ends: dict[tuple[str, bool], Outermost],
    ) -> None:
        at_point = {
            state.point.name: state.scores(rows, held)
            for state, held in zip(self._states, arrays, strict=True)
        }
        for m in self._methods:
            points = points_of(m, self._evidence, base=False)
            values = [at_point[p.name][m.spec] for p in points]
            score = (
                values[0] if m.checkpoints == "final" else m.combine(values, points, self._evidence)
            )
            if m.minus_base and self._evidence.base is not None:
                score = score - at_point[self._evidence.base.name][m.spec]
            score = np.asarray(score, np.float32)
            self._require_finite(m, rows, score)
            for lowest in (False, True):
                ends[m.spec, lowest].add(rows, score)

    def _require_finite(self, m: BlockMethod, rows: np.ndarray, score: np.ndarray) -> None:
        finite = np.isfinite(score)
        if not finite.all():
            row, query = np.argwhere(~finite)[0]
            train_ids = self._states[0].point.source(Side.TRAIN).ids
            raise NonFiniteError(
                f"{m.spec} gave {score[row, query]} for query {self._query_ids[query]!r} and training row "
                f"{train_ids[rows[row]]!r}. Check that row and the model's weights for NaN."
            )


def _joined(chunks: Sequence[Chunk]) -> Chunk:
    """Several chunks as one."""
    states = zip(*(arrays for _, arrays in chunks), strict=True)
    arrays = [{n: np.concatenate([held[n] for held in some]) for n in some[0]} for some in states]
    return np.concatenate([rows for rows, _ in chunks]), arrays


def _together(states: Sequence[State]) -> Iterator[Chunk]:
    """Row numbers, and for every state its arrays of these rows."""
    # what gradients are taken of decides the store, and each is read by itself
    walks = [
        (number, state.point.source(Side.TRAIN).chunks(names))
        for number, state in enumerate(states)
        for names in state.names.values()
    ]
    for chunks in zip(*(walk for _, walk in walks), strict=True):
        rows = chunks[0][0]
        if any(not np.array_equal(rows, other) for other, _ in chunks[1:]):
            raise StoreError(
                "signals of several states, or of several targets, lie in different chunks of rows. Index "
                "them again with the same batches (--restart)."
            )
        arrays: list[dict[str, np.ndarray]] = [{} for _ in states]
        for (number, _), (_, found) in zip(walks, chunks, strict=True):
            arrays[number] |= {name: np.asarray(v, np.float32) for name, v in found.items()}
        yield rows, arrays
