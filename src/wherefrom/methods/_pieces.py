"""Pieces: a score taken apart over the pieces that a gradient is the sum of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from wherefrom.curvature import GramBlock, inverse_norms
from wherefrom.errors import SettingError
from wherefrom.methods._block import BlockEvidence, BlockMethod, DampedMethod, Sums
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import RawBlock, flat
from wherefrom.methods._method import Method
from wherefrom.methods._modifiers import chosen_blocks
from wherefrom.methods._score import points_of
from wherefrom.methods._workers import in_order
from wherefrom.signals import LOSS_TARGET, Block

Arrays = Mapping[str, np.ndarray]
"""By name of the array, pieces × a block's shape."""
Norms = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Pieces:
    """Scores of one query for some training rows, taken apart.

    Attributes:
        scores: (rows,), of the gradients as they are.
        query: query pieces × rows; sums over pieces to `scores`.
        rows: of each row, (pieces,); sums to its entry of `scores`.
    """

    scores: np.ndarray
    query: np.ndarray
    rows: tuple[np.ndarray, ...]


def cannot_take_apart(m: Method) -> str | None:
    """Why a method's scores are no sums over pieces of gradients, or None."""
    if not isinstance(m, BlockMethod):
        return "it does not compare gradients"
    if not (m.is_linear() or m.additive):
        return "its score is no sum over parts of a gradient"
    changed = {
        "the gradients of other tokens": m.target != LOSS_TARGET,
        "reference answers": m.reference,
        "centring": m.centre,
        "whitening": m.whiten > 0,
        f"aggregate={m.aggregate}": m.aggregate != "sum",
        "the base model's scores": m.minus_base,
    }
    found = [what for what, there in changed.items() if there]
    return f"not taken apart under {' and '.join(found)}" if found else None


def score_pieces(
    m: Method,
    evidence: Evidence,
    rows: Sequence[int],
    captured: Callable[[Point], tuple[Arrays, Sequence[Arrays]]],
) -> Pieces:
    """Takes the scores of one query for some training rows apart.

    Curvature, damping and norms are those of whole gradients, so that the pieces' scores add up.

    Args:
        m: the method.
        evidence: one query, and all training rows, which curvature is made of.
        rows: numbers of the training rows whose scores are taken apart.
        captured: of a state of the model, pieces that add up to the query's gradient there, and for each of
            `rows` pieces that add up to its.

    Raises:
        SettingError: `cannot_take_apart` says why; or gradients were not kept.
    """
    why = cannot_take_apart(m)
    if why is not None:
        raise SettingError(f"{m.spec}: {why}.")
    assert isinstance(m, BlockMethod)
    points = points_of(m, evidence, base=False)
    parts = []
    for point in points:
        if point.products is not None:
            raise SettingError(f"{m.spec}: only products of gradients were kept, not gradients.")
        parts.append(_at(m, point, evidence, rows, *captured(point)))

    def combined(values: Sequence[np.ndarray]) -> np.ndarray:
        return m.combine(values, points, evidence)

    return Pieces(
        combined([part.scores for part in parts]),
        combined([part.query for part in parts]),
        tuple(combined(each) for each in zip(*(part.rows for part in parts), strict=True)),
    )


def _at(
    m: BlockMethod,
    point: Point,
    evidence: Evidence,
    rows: Sequence[int],
    query: Arrays,
    train: Sequence[Arrays],
) -> Pieces:
    """The pieces at one state."""
    chosen = chosen_blocks(m.layers, [block.name for block in point.blocks])
    blocks = [block for block in point.blocks if block.name in chosen]
    lengths = [len(next(iter(arrays.values()))) for arrays in train]
    owner = np.concatenate([np.arange(len(rows)), np.repeat(np.arange(len(rows)), lengths)])
    damped = isinstance(m, DampedMethod) or m.spectral

    def stacked(block: Block) -> _Stacked:
        raw = RawBlock(point, block, m.target, False, m.project)
        return _Stacked.of(raw, rows, query, train, owner)

    if m.raw_gradients:

        def of_gradients(block: Block) -> Sums:
            raw = _StackedRaw(stacked(block))
            return m.contribution(BlockEvidence(_untold, evidence.recipe, raw, point))

        return _apart(m, list(in_order(of_gradients, blocks)), len(rows), lengths)
    norms: Norms | None = None
    if m.normalise == "row" or (m.normalise == "block" and m.scope == "whole"):
        parts = list(in_order(lambda block: stacked(block).norms, blocks))
        norms = _inverse([np.sum(part, axis=0) for part in zip(*parts, strict=True)])

    def products(block: Block) -> _Products:
        found = stacked(block)
        scale = _inverse(found.norms) if m.normalise == "block" and norms is None else norms
        return found.products(scale, m.curvature if damped else None)

    def contribution(found: _Products) -> Sums:
        block = found.block()
        return m.contribution(BlockEvidence(lambda: block, evidence.recipe, None, point))

    alive = [found for found in in_order(products, blocks) if found.alive]
    if m.scope == "whole" and alive:
        alive = [_Products.added(alive)]
    return _apart(m, [contribution(found) for found in alive], len(rows), lengths)


def _apart(m: BlockMethod, each: Sequence[Sums], rows: int, lengths: Sequence[int]) -> Pieces:
    """Pieces from what every block adds."""
    sums: Sums = {}
    for found in each:
        for key, value in found.items():
            sums[key] = sums[key] + value if key in sums else value
    if not sums:
        raise SettingError(f"{m.spec}: every training row's gradient is zero.")
    values = m.finish(sums, len(each))
    ends = np.cumsum([rows, *lengths])
    return Pieces(
        values[0, :rows],
        values[1:, :rows],
        tuple(values[0, a:b] for a, b in pairwise(ends.tolist())),
    )


def _inverse(norms: Sequence[np.ndarray]) -> Norms:
    basis, rows, query = (inverse_norms(one) for one in norms)
    return basis, rows, query


@dataclass(frozen=True)
class _Products:
    """What methods ask of a block's gradients, norms of pieces being those of what they are pieces of.

    Attributes:
        cross: products of the query and its pieces with the rows and theirs.
        query_norms: squared, all of them the query's.
        train_norms: squared, each the row's.
        size: entries.
        basis: products of F's rows with themselves, the query's side and the rows' side.
        alive: whether any training row has a gradient here.
    """

    cross: np.ndarray
    query_norms: np.ndarray
    train_norms: np.ndarray
    size: int
    basis: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    alive: bool = True

    @classmethod
    def added(cls, parts: Sequence[_Products]) -> _Products:
        """Those of the blocks' gradients put end to end."""
        held = [part.basis for part in parts if part.basis is not None]
        basis = tuple(np.sum(arrays, axis=0) for arrays in zip(*held, strict=True)) or None
        return cls(
            np.sum([part.cross for part in parts], axis=0),
            np.sum([part.query_norms for part in parts], axis=0),
            np.sum([part.train_norms for part in parts], axis=0),
            sum(part.size for part in parts),
            basis,
        )

    def block(self) -> GramBlock:
        """As methods see them."""
        return GramBlock(
            _untold, self.cross, self.query_norms, self.size, self.basis, self.train_norms
        )


def _untold() -> Any:
    raise AssertionError(
        "no method that can be taken apart asks for products of pieces with pieces"
    )


@dataclass(frozen=True)
class _Stacked:
    """One block's gradients.

    Attributes:
        raw: the block.
        rows: the chosen training rows, and behind them the pieces of each.
        query: the query, and behind it its pieces.
        owner: of each of `rows`, which of the chosen rows it is or is a piece of.
    """

    raw: RawBlock
    rows: np.ndarray
    query: np.ndarray
    owner: np.ndarray

    @classmethod
    def of(
        cls,
        raw: RawBlock,
        rows: Sequence[int],
        query: Arrays,
        train: Sequence[Arrays],
        owner: np.ndarray,
    ) -> _Stacked:
        """Whole gradients as they are stored, pieces as they were captured."""
        pieces = [flat(raw.projected(arrays[raw.name])) for arrays in train]
        return cls(
            raw,
            np.concatenate([flat(raw.train)[list(rows)], *pieces]).astype(np.float64),
            np.concatenate([flat(raw.query), flat(raw.projected(query[raw.name]))]).astype(
                np.float64
            ),
            owner,
        )

    @cached_property
    def norms(self) -> Norms:
        """Squared norms: of all training rows, of what owns each of `rows`, and of the query."""
        whole = [flat(self.raw.train), self.rows[: self.owner.max(initial=-1) + 1], self.query[:1]]
        basis, rows, query = (np.einsum("np,np->n", x, x, dtype=np.float64) for x in whole)
        return basis, rows[self.owner], np.repeat(query, len(self.query))

    def products(self, scale: Norms | None, curvature: str | None) -> _Products:
        """Products after every gradient, and with it its pieces, was multiplied by a number."""
        basis_norms, row_norms, query_norms = self.norms
        rows, query, basis = self.rows, self.query, None
        if scale is not None:
            rows, query = rows * scale[1][:, None], query * scale[2][:, None]
            row_norms, query_norms = row_norms * scale[1] ** 2, query_norms * scale[2] ** 2
        if curvature is not None:
            # curvature of drawn labels has norms of its own, which normalising leaves alone
            own = flat(self.raw.drawn if curvature == "true" else self.raw.train)
            r = own.astype(np.float64)
            if scale is not None and curvature != "true":
                r = r * scale[0][:, None]
            basis = (r @ r.T, query @ r.T, rows @ r.T)
        return _Products(
            query @ rows.T,
            query_norms,
            row_norms,
            self.raw.size,
            basis,
            bool(basis_norms.any()),
        )


class _StackedRaw(RawBlock):
    """The same, as a block of methods that look at gradients themselves."""

    def __init__(self, stacked: _Stacked) -> None:
        raw = stacked.raw
        super().__init__(raw.point, raw.block, raw.target, raw.reference, raw.project)
        self._stacked = stacked

    @cached_property
    def train(self) -> np.ndarray:
        """The chosen rows and their pieces."""
        return self._stacked.rows.reshape(-1, *self._stacked.raw.train.shape[1:])

    @cached_property
    def query(self) -> np.ndarray:
        """The query and its pieces."""
        return self._stacked.query.reshape(-1, *self._stacked.raw.query.shape[1:])
