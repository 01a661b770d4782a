"""Capture: every row of a batch plan through the pass and into its sinks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from weakref import WeakKeyDictionary

import numpy as np
from torch import nn

from wherefrom.capture._pass import Pass
from wherefrom.capture._workers import fork_workers
from wherefrom.curvature import FactorSums
from wherefrom.data import BatchPlan, TokenRow
from wherefrom.progress import Advance, track
from wherefrom.signals import TOKEN_LOSS, Sink


class FactorSink(Protocol):
    """Whoever adds up Kronecker factors."""

    def missing(self) -> Sequence[int]:
        """Chunks of the batch plan that have not been added yet."""
        ...

    def add(self, chunk: int, sums: FactorSums) -> None:
        """Adds the sums over one whole chunk."""
        ...

    def flush(self) -> None:
        """Keeps what was added; called when a writer has done its share."""
        ...


class Share(Protocol):
    """One of several processes that make the same pass together, each some of its chunks."""

    @property
    def rank(self) -> int:
        """Which one, from 0."""
        ...

    @property
    def size(self) -> int:
        """Of how many."""
        ...

    def wait(self) -> None:
        """Returns when all of them have called it."""
        ...


_VERIFIED: WeakKeyDictionary[nn.Module, set[tuple[str, ...]]] = WeakKeyDictionary()
"""Models, and for which of their blocks captured gradients were compared with autograd's."""
FactorSinks = Callable[[int], FactorSink]
"""Opens the sink of a writer, each of which has its own."""


@dataclass(frozen=True)
class Capture:
    """A pass over rows, and who takes what it emits.

    Attributes:
        passes: the pass to run.
        rows: rows in the order of the data set.
        plan: which of them go together.
        sinks: who takes the signals, each with the names of the arrays it takes.
        factors: who takes the Kronecker factors; several processes may write at once.
    """

    passes: Pass
    rows: Sequence[TokenRow]
    plan: BatchPlan
    sinks: Sequence[tuple[frozenset[str], Sink]]
    factors: FactorSinks | None = None

    def missing(self) -> list[int]:
        """Chunks that some sink has not got yet."""
        return sorted(self._unput().union(self.factors(0).missing() if self.factors else ()))

    def run(self, label: str | None, workers: int = 1, share: Share | None = None) -> None:
        """Runs every chunk that some sink has not got yet, and puts it there whole.

        A chunk is run by one process from its first batch to its last, so that its signals do not depend
        on how many there are.

        Args:
            label: what the progress bar says; no bar when None.
            workers: how many one-thread processes this one forks for its share of the chunks.
            share: which of the chunks are this process's, where several make the pass together.

        Raises:
            NonFiniteError: a row's signals are NaN or Inf; chunks before it are kept.
            ModelError: captured gradients do not agree with autograd's on the first rows.
            WorkerError: a forked process died; the chunks that are done are kept.
        """
        missing = self.missing()
        mine = missing
        if share is not None and share.size > 1:
            # nobody puts a chunk before everybody has listed what is missing
            share.wait()
            mine = self._shared(missing, share.size)[share.rank]
        if not mine:
            return
        self._verify()
        with track(label, len(self.rows), len(self.rows) - self._size(missing)) as advance:
            if min(workers, len(mine)) < 2:
                self._chunks(mine, 0 if share is None else share.rank, advance)
                return
            left = self._size(self._unput())

            def watch() -> None:
                nonlocal left
                if (now := self._size(self._unput())) < left:
                    advance(left - now)
                    left = now

            shares = self._shared(mine, min(workers, len(mine)))
            work = [partial(self._chunks, chunks, i) for i, chunks in enumerate(shares)]
            fork_workers(work, watch)

    def _verify(self) -> None:
        blocks = tuple(block.name for block in self.passes.blocks)
        verified = _VERIFIED.setdefault(self.passes.model, set())
        # it is a property of the layers: neither other weights nor other rows change it
        if blocks not in verified:
            shortest = [self.rows[int(i)] for i in self.plan.order[:2]]
            # bfloat16 rounds each of the two differently; what is caught here is off by far more
            self.passes.verify(shortest, tolerance=1e-3 if self.passes.exact else 5e-2)
            verified.add(blocks)

    def _shared(self, chunks: Sequence[int], count: int) -> list[list[int]]:
        """Chunks in shares of about as many tokens each, the largest chunks given away first."""
        lengths = [len(self.rows[int(i)].ids) for i in self.plan.order]
        sizes = {c: sum(lengths[i] for b in self.plan.chunks[c] for i in b) for c in chunks}
        shares: list[list[int]] = [[] for _ in range(count)]
        loads = [0] * count
        for chunk in sorted(chunks, key=lambda c: (-sizes[c], c)):
            lightest = loads.index(min(loads))
            shares[lightest].append(chunk)
            loads[lightest] += sizes[chunk]
        return [sorted(share) for share in shares]

    def _unput(self) -> set[int]:
        return {chunk for _, sink in self.sinks for chunk in sink.missing()}

    def _size(self, chunks: Iterable[int]) -> int:
        return sum(len(batch) for chunk in chunks for batch in self.plan.chunks[chunk])

    def _chunks(self, chunks: Sequence[int], writer: int, advance: Advance | None = None) -> None:
        todo = [(names, sink, set(sink.missing())) for names, sink in self.sinks]
        factors = None if self.factors is None else self.factors(writer)
        unsummed = set() if factors is None else set(factors.missing())
        longest = max(int(row.loss_mask.sum()) for row in self.rows)
        for chunk in chunks:
            batches = []
            for batch in self.plan.chunks[chunk]:
                emitted = self.passes.run([self.rows[int(self.plan.order[i])] for i in batch])
                losses = emitted[TOKEN_LOSS]
                gap = longest - losses.shape[1]
                emitted[TOKEN_LOSS] = np.pad(losses, ((0, 0), (0, gap)))
                batches.append(emitted)
                if advance is not None:
                    advance(len(batch))
            sums = self.passes.take_factors()
            for names, sink, missing in todo:
                if chunk in missing:
                    sink.put(chunk, {n: np.concatenate([b[n] for b in batches]) for n in names})
            if factors is not None and chunk in unsummed:
                factors.add(chunk, sums)
        if factors is not None:
            factors.flush()
