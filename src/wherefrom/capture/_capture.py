"""Capture: every row of a batch plan through the pass and into a sink."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.capture._pass import Pass
from wherefrom.data import BatchPlan, TokenRow
from wherefrom.progress import track
from wherefrom.signals import TOKEN_LOSS, SignalArray, Sink


def capture(
    passes: Pass,
    rows: Sequence[TokenRow],
    plan: BatchPlan,
    sink: Sink,
    label: str = "capture",
) -> None:
    """Runs every chunk that the sink has not got yet, and puts it there whole.

    Args:
        passes: the pass to run.
        rows: rows in the order of the data set.
        plan: which of them go together.
        sink: who takes the signals.
        label: what the progress bar says.

    Raises:
        NonFiniteError: a row's signals are NaN or Inf; chunks before it are kept.
        ModelError: captured gradients do not agree with autograd's on the first rows.
    """
    missing = sink.missing()
    if not missing:
        return
    shortest = [rows[int(i)] for i in plan.order[:2]]
    # bfloat16 rounds each of the two differently; what is caught here is off by far more
    passes.verify(shortest, tolerance=1e-3 if passes.exact else 5e-2)
    todo = sum(len(batch) for chunk in missing for batch in plan.chunks[chunk])
    arrays = passes.arrays(rows)
    with track(label, len(rows), start=len(rows) - todo) as advance:
        for chunk in missing:
            batches = []
            for batch in plan.chunks[chunk]:
                emitted = passes.run([rows[int(plan.order[i])] for i in batch])
                batches.append(_widened(emitted, arrays))
                advance(len(batch))
            whole = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
            sink.put(chunk, whole)


def _widened(emitted: dict[str, np.ndarray], arrays: list[SignalArray]) -> dict[str, np.ndarray]:
    width = next(array.shape[0] for array in arrays if array.name == TOKEN_LOSS)
    losses = emitted[TOKEN_LOSS]
    emitted[TOKEN_LOSS] = np.pad(losses, ((0, 0), (0, width - losses.shape[1])))
    return emitted
