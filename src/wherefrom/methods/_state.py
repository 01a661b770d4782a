"""One state of the model, fitted: what scores a slice of its rows by every method at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from wherefrom.curvature import PassingRows
from wherefrom.errors import SettingError
from wherefrom.methods._block import BlockEvidence, BlockMethod, Sums
from wherefrom.methods._evidence import Evidence, Point
from wherefrom.methods._features import RawBlock, flat
from wherefrom.methods._fits import Part, fit_all
from wherefrom.methods._geometry import Geometry
from wherefrom.methods._score import NOTHING

Arrays = Mapping[str, np.ndarray]


@dataclass(eq=False)
class _Stack:
    """Linear methods whose rows are changed alike: their weights lie side by side.

    Attributes:
        columns: of each method, by spec.
        width: of all of them.
        scale: by training row, what its score is multiplied by; None for 1.
    """

    columns: dict[str, slice]
    width: int
    scale: np.ndarray | None = None


@dataclass(eq=False)
class _Product:
    """What a stack makes of one group of blocks.

    Attributes:
        weights: entries × the stack's columns.
        offset: taken off the product; None for nothing.
        unit: the part whose rows are brought to norm one; None where rows are not.
    """

    weights: np.ndarray
    offset: np.ndarray | None = None
    unit: Part | None = None


@dataclass(eq=False)
class _Group:
    """Blocks whose rows are read as one, and everything that looks at them.

    Attributes:
        raws: the blocks.
        products: by stack.
        others: methods that are not linear, by part.
        shared: of such a part, where the queries' own products are made already.
    """

    raws: tuple[RawBlock, ...]
    products: dict[_Stack, _Product] = field(default_factory=dict)
    others: dict[Part, list[BlockMethod]] = field(default_factory=dict)
    shared: dict[Part, tuple[_Stack, slice]] = field(default_factory=dict)

    def rows(self, arrays: Arrays) -> np.ndarray:
        """Raw rows × entries, float32."""
        parts = [flat(raw.projected(arrays[raw.name])) for raw in self.raws]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return np.asarray(whole, np.float32)


class State:
    """One state of the model under the methods that look at it.

    Args:
        methods: all of them can be streamed.
        point: the state.
        evidence: rows and recipe.
        memory: bytes that fits may take.

    Attributes:
        point: the state.
        names: arrays that a chunk must have, by what gradients are taken of.

    Raises:
        SettingError: there are no gradients, or their curvature does not fit the memory.
    """

    def __init__(
        self, methods: Sequence[BlockMethod], point: Point, evidence: Evidence, memory: float
    ) -> None:
        self.point = point
        self._methods = methods
        self._evidence = evidence
        parts = fit_all(methods, point, evidence, memory)
        under = {m.spec: [p for p in parts if p.geometry == Geometry.of(m)] for m in methods}
        if not all(any(p.alive[0] for p in own) for own in under.values()):
            raise SettingError(NOTHING)
        self._parts = {spec: [p for p in own if p.alive[1]] for spec, own in under.items()}
        self._groups: dict[tuple[str, ...], _Group] = {}
        self._stacks: list[_Stack] = []
        self._stack_linear()
        self._place_others()
        self.names: dict[str, list[str]] = {}
        for group in self._groups.values():
            for raw in group.raws:
                held = self.names.setdefault(raw.target, [])
                held += [] if raw.name in held else [raw.name]

    def numbers(self, m: BlockMethod) -> tuple[Sums, int]:
        """What the method's contributions hold beside matrices, added up, and of how many parts."""
        sums: Sums = {}
        for part in self._parts[m.spec]:
            _add(sums, part.numbers[m.spec])
        return sums, len(self._parts[m.spec])

    def scores(self, rows: np.ndarray, arrays: Arrays) -> dict[str, np.ndarray]:
        """Every method's scores of some rows.

        Args:
            rows: their positions.
            arrays: their gradients by name.

        Returns:
            By spec, rows × queries.
        """
        totals = {s: np.zeros((len(rows), s.width), np.float32) for s in self._stacks}
        made = {stack: np.empty_like(total) for stack, total in totals.items()}
        sums: dict[str, Sums] = {m.spec: {} for m in self._methods}
        for group in self._groups.values():
            raw = group.rows(arrays)
            for stack, product in group.products.items():
                np.matmul(raw, product.weights, out=made[stack])
            for part, methods in group.others.items():
                moved = part.rows.moved(raw)
                seen = PassingRows(part.fit, moved, part.rows.factor(rows, moved))
                if part in group.shared:
                    stack, columns = group.shared[part]
                    seen.cross = made[stack][:, columns].T
                for m in methods:
                    _add(sums[m.spec], m.contribution(self._shown(seen)))
            for stack, product in group.products.items():
                values = made[stack]
                if product.offset is not None:
                    values -= product.offset
                if product.unit is not None:
                    factor = product.unit.rows.factor(rows, product.unit.rows.moved(raw))
                    assert factor is not None
                    values *= factor[:, None]
                totals[stack] += values
        for stack, total in totals.items():
            if stack.scale is not None:
                total *= stack.scale[rows, None].astype(np.float32)
            for spec, columns in stack.columns.items():
                sums[spec] = {"score": total[:, columns].T}
        return {m.spec: self._finished(m, sums[m.spec], len(rows)) for m in self._methods}

    def _finished(self, m: BlockMethod, sums: Sums, rows: int) -> np.ndarray:
        if not sums:
            # modifiers took all gradients away
            return np.zeros((rows, len(self._evidence.query_rows)), np.float32)
        return m.finish(sums, len(self._parts[m.spec])).T

    def _shown(self, seen: PassingRows) -> BlockEvidence:
        return BlockEvidence(lambda: seen, self._evidence.recipe, None, self.point)

    def _group(self, raws: tuple[RawBlock, ...]) -> _Group:
        # reference answers and curvature change queries and weights, not the rows
        key = (str(raws[0].project), *(raw.name for raw in raws))
        return self._groups.setdefault(key, _Group(raws))

    def _stack_linear(self) -> None:
        alike: dict[object, list[BlockMethod]] = {}
        for m in self._methods:
            if m.is_linear() and self._parts[m.spec]:
                g = Geometry.of(m)
                alike.setdefault("plain" if g.normalise == "none" else g, []).append(m)
        queries = len(self._evidence.query_rows)
        for members in alike.values():
            columns = {m.spec: slice(i * queries, (i + 1) * queries) for i, m in enumerate(members)}
            stack = _Stack(columns, queries * len(members))
            self._stacks.append(stack)
            for m in members:
                for part in self._parts[m.spec]:
                    self._put(part, m.spec, stack)

    def _put(self, part: Part, spec: str, stack: _Stack) -> None:
        weights, offset = part.weights.pop(spec)
        starts = np.cumsum([0, *(raw.size for raw in part.raws)])
        whole = part.rows.unit
        # nothing ties the blocks of a whole gradient together unless its norm does
        pieces = [(part.raws, weights)]
        if not whole:
            cuts = zip(part.raws, starts, starts[1:], strict=False)
            pieces = [((raw,), weights[:, a:b]) for raw, a, b in cuts]
        stack.scale = part.rows.scale
        for raws, values in pieces:
            group = self._group(raws)
            if stack not in group.products:
                empty = np.zeros((values.shape[1], stack.width), np.float32)
                group.products[stack] = _Product(empty, unit=part if whole else None)
            product = group.products[stack]
            product.weights[:, stack.columns[spec]] = values.T
            if offset.any():
                if product.offset is None:
                    product.offset = np.zeros(stack.width, np.float32)
                product.offset[stack.columns[spec]] = offset
                offset = np.zeros_like(offset)

    def _place_others(self) -> None:
        for m in self._methods:
            for part in () if m.is_linear() else self._parts[m.spec]:
                group = self._group(part.raws)
                group.others.setdefault(part, []).append(m)
                rows = part.rows
                if rows.centre is rows.turn is rows.scale is None and not rows.unit:
                    own = part.fit.query.T.astype(np.float32)
                    for stack, product in group.products.items():
                        for columns in stack.columns.values():
                            plain = product.offset is None and product.unit is None
                            if plain and np.array_equal(product.weights[:, columns], own):
                                group.shared[part] = stack, columns


def _add(sums: Sums, parts: Sums) -> None:
    for key, value in parts.items():
        if key in sums:
            sums[key] = np.add(sums[key], value, out=sums[key] if np.ndim(value) else None)
        else:
            sums[key] = np.array(value)
