"""Which tokens carry a score: a query's and its top rows' gradients taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.answers import Token, TokenEvidence
from wherefrom.capture import Pass
from wherefrom.data import Example, Renderer, TokenRow
from wherefrom.errors import SettingError
from wherefrom.methods import Evidence, Point, cannot_take_apart, parse_method, score_pieces
from wherefrom.run._asked import evidence_for, methods_for
from wherefrom.run._gather import in_state
from wherefrom.run._index import batch_tokens, pass_of
from wherefrom.run._stages import states_of
from wherefrom.safetext import printable
from wherefrom.signals import Kind, Need, Side, SomeRows, gradient_name

if TYPE_CHECKING:
    from wherefrom.run._run import Run

Arrays = dict[str, np.ndarray]
"""By name of the array, pieces × a block's shape."""
_DECODED = 512
"""Tokens of a row up to which each is read after those before it, so that letters of several tokens stay
whole."""


def tokens_of(
    run: Run, query: Example, rows: Sequence[str], method: str, evidence: Evidence | None = None
) -> tuple[TokenEvidence, ...]:
    """Takes the scores of some rows for one query apart over tokens.

    One backward pass for each of the query's counted tokens and one for each row, at every state that the
    method looks at; scores are linear in either gradient, so that no approximation is made.

    Args:
        run: indexed for the method.
        query: prompt and response.
        rows: ids of training rows.
        method: a method as typed.
        evidence: of queries with this one among them, where it is at hand; made anew when None.

    Raises:
        SettingError: the method's scores are no sums over tokens, a row is unknown, or the run was not
            indexed for the method.
    """
    m = parse_method(method)
    why = cannot_take_apart(m)
    if why is not None:
        raise SettingError(f"{m.spec} says nothing of single tokens: {why}.")
    places = {row.id: place for place, row in enumerate(run.train)}
    unknown = [id for id in rows if id not in places]
    if unknown:
        raise SettingError(f"{run.path} has no training row {unknown[0]!r}.")
    (chosen,) = methods_for(run, [method])
    if evidence is None:
        evidence = evidence_for(run, [query], [chosen])
    evidence = _of_one(evidence, query)
    recipe = run.config.recipes()[0]
    renderer = Renderer(run.model.tokenizer, recipe)
    asked = renderer.render(query)
    cited = [renderer.render(run.train[places[id]]) for id in rows]
    states = {one.name: one for one in states_of(run, recipe)}

    def captured(point: Point) -> tuple[Arrays, list[Arrays]]:
        with in_state(run.model, states[point.name]) as model:
            tool = pass_of(model, renderer, run.passing, frozenset({Need(Kind.GRADIENT)}))
            own = _by_counted_token(tool, asked, batch_tokens(model, run.passing))
            return own, [tool.by_position(row) for row in cited]

    pieces = score_pieces(chosen, evidence, [places[id] for id in rows], captured)
    counted = np.flatnonzero(asked.loss_mask)
    found = []
    for place, row in enumerate(cited):
        own = dict(zip(counted.tolist(), pieces.query[:, place].tolist(), strict=True))
        score, parts = float(pieces.scores[place]), pieces.rows[place]
        found.append(
            TokenEvidence(
                row=row.id,
                method=chosen.spec,
                score=score,
                query=_tokens(run, asked, [own.get(t) for t in range(len(asked.ids))]),
                train=_tokens(run, row, parts.tolist()),
                missing=(score - sum(own.values()), score - float(parts.sum())),
            )
        )
    return tuple(found)


def _of_one(evidence: Evidence, query: Example) -> Evidence:
    place = [one.id for one in evidence.query_rows].index(query.id)

    def alone(point: Point) -> Point:
        if Side.QUERY not in point.sources:
            return point
        own = SomeRows(point.sources[Side.QUERY], [place])
        return replace(point, sources={**point.sources, Side.QUERY: own})

    return replace(
        evidence,
        query_rows=[query],
        final=alone(evidence.final),
        checkpoints=[alone(point) for point in evidence.checkpoints],
        base=None if evidence.base is None else alone(evidence.base),
    )


def _by_counted_token(tool: Pass, row: TokenRow, budget: int) -> Arrays:
    """A row's gradient as a sum over its counted tokens: each token's own loss, weighed as in the row's."""
    counted = np.flatnonzero(row.loss_mask)
    alone = [replace(row, loss_mask=np.arange(len(row.ids)) == t) for t in counted]
    weight = 1 / len(counted) if tool.reduction == "mean" else 1.0
    size = max(1, budget // len(row.ids))
    parts = [tool.run(alone[i : i + size]) for i in range(0, len(alone), size)]
    names = [gradient_name(block.name) for block in tool.blocks]
    return {name: weight * np.concatenate([part[name] for part in parts]) for name in names}


def _tokens(run: Run, row: TokenRow, values: Sequence[float | None]) -> tuple[Token, ...]:
    texts = _texts(run.model.tokenizer, row.ids.tolist())
    return tuple(
        Token(printable(text), value, bool(response))
        for text, value, response in zip(texts, values, row.response_mask, strict=True)
    )


def _texts(tokenizer: Any, ids: list[int]) -> list[str]:
    """What each token adds to the text."""
    alone = [str(tokenizer.decode([one])) for one in ids]
    if len(ids) > _DECODED:
        return alone
    found, before = [], ""
    for place, text in enumerate(alone):
        whole = str(tokenizer.decode(ids[: place + 1]))
        # half a letter reads as a replacement mark until its other half is there
        found.append(whole[len(before) :] if whole.startswith(before) else text)
        before = whole
    return found
