"""Probe: how long a token takes, measured before a pass is promised to take so long."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wherefrom.capture._pass import Pass
from wherefrom.data import TokenRow
from wherefrom.models import LoadedModel
from wherefrom.signals import Kind, Need

_TOKENS = 128


@dataclass(frozen=True)
class Speed:
    """Seconds a token takes.

    Attributes:
        forward: through the model and into logits.
        backward: back again, gradients of all traced blocks read off; once for each target.
    """

    forward: float
    backward: float


def measure_speed(
    loaded: LoadedModel, rows: Sequence[TokenRow], blocks: str | None = None
) -> Speed:
    """Times one small batch of rows of middling length, forward, and forward and backward."""
    order = np.argsort([len(row.ids) for row in rows], kind="stable")
    middle = rows[int(order[len(order) // 2])]
    batch = [middle] * max(1, min(8, _TOKENS // len(middle.ids)))
    tokens = len(batch) * len(middle.ids)

    def seconds(kind: Kind) -> float:
        run = Pass(loaded.model, frozenset({Need(kind)}), pad_id=loaded.pad_id, blocks=blocks)
        begun = time.perf_counter()
        run.run(batch)
        return time.perf_counter() - begun

    forward = seconds(Kind.LOSS)
    trained = any(p.requires_grad for p in loaded.model.parameters())
    both = seconds(Kind.GRADIENT) if trained else forward
    return Speed(forward / tokens, max(0.0, both - forward) / tokens)
