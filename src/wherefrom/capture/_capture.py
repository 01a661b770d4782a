"""Capture: every row of a batch plan through the pass and into its sinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from wherefrom.capture._pass import Pass
from wherefrom.curvature import FactorSums
from wherefrom.data import BatchPlan, TokenRow
from wherefrom.progress import track
from wherefrom.signals import TOKEN_LOSS, Sink


class FactorSink(Protocol):
    """Whoever adds up Kronecker factors."""

    def missing(self) -> Sequence[int]:
        """Chunks of the batch plan that have not been added yet."""
        ...

    def add(self, chunk: int, sums: FactorSums) -> None:
        """Adds the sums over one whole chunk."""
        ...


def capture(
    passes: Pass,
    rows: Sequence[TokenRow],
    plan: BatchPlan,
    sinks: Sequence[tuple[frozenset[str], Sink]],
    label: str | None = "capture",
    factors: FactorSink | None = None,
) -> None:
    """Runs every chunk that some sink has not got yet, and puts it there whole.

    Args:
        passes: the pass to run.
        rows: rows in the order of the data set.
        plan: which of them go together.
        sinks: who takes the signals, each with the names of the arrays it takes.
        label: what the progress bar says; no bar when None.
        factors: who takes the Kronecker factors.

    Raises:
        NonFiniteError: a row's signals are NaN or Inf; chunks before it are kept.
        ModelError: captured gradients do not agree with autograd's on the first rows.
    """
    todo = [(names, sink, set(sink.missing())) for names, sink in sinks]
    unsummed = set(factors.missing()) if factors is not None else set()
    missing = sorted(unsummed.union(*(chunks for _, _, chunks in todo)))
    if not missing:
        return
    shortest = [rows[int(i)] for i in plan.order[:2]]
    # bfloat16 rounds each of the two differently; what is caught here is off by far more
    passes.verify(shortest, tolerance=1e-3 if passes.exact else 5e-2)
    left = sum(len(batch) for chunk in missing for batch in plan.chunks[chunk])
    longest = max(int(row.loss_mask.sum()) for row in rows)
    with track(label, len(rows), start=len(rows) - left) as advance:
        for chunk in missing:
            batches = []
            for batch in plan.chunks[chunk]:
                emitted = passes.run([rows[int(plan.order[i])] for i in batch])
                losses = emitted[TOKEN_LOSS]
                gap = longest - losses.shape[1]
                emitted[TOKEN_LOSS] = np.pad(losses, ((0, 0), (0, gap)))
                batches.append(emitted)
                advance(len(batch))
            sums = passes.take_factors()
            for names, sink, chunks in todo:
                if chunk in chunks:
                    sink.put(chunk, {n: np.concatenate([b[n] for b in batches]) for n in names})
            if factors is not None and chunk in unsummed:
                factors.add(chunk, sums)
