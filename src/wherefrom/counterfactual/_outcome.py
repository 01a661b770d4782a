"""Outcomes: what a retrained model makes of the queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from wherefrom.counterfactual._trainees import Trainees
from wherefrom.data import TokenRow
from wherefrom.models import counted_losses, pad_rows

OUTCOMES: Mapping[str, str] = {
    "log_probability": "mean log-probability of the response's counted tokens, in nats a token",
    "margin": "mean log-odds, log p − log(1 − p), of the response's counted tokens",
    "greedy": "1 where every counted token is the model's first choice: it would say this; else 0",
    "behaviour": "1 where the model's own greedy answer shows the behaviour that the task teaches; else 0",
}
"""What can be asked of a retrained model, and what the number is; higher = more like the response."""

FORWARD = ("log_probability", "margin", "greedy")
"""Outcomes that one forward pass over the queries gives."""


@dataclass(frozen=True)
class Behaviour:
    """How to tell whether a model behaves as a task teaches.

    Attributes:
        name: of the outcome; another check has another name.
        prompts: token ids of the queries' prompts.
        judge: from the generated answers, 1 or 0 for each query.
        max_new_tokens: how long an answer the judge needs.
    """

    name: str
    prompts: Sequence[Sequence[int]]
    judge: Callable[[list[str]], list[float]]
    max_new_tokens: int


_TOKENS = 2048
"""Most tokens of a forward pass over queries, pads counted."""


def read_outcomes(
    trainees: Trainees, count: int, queries: Sequence[TokenRow], pad_id: int
) -> dict[str, np.ndarray]:
    """What each of `count` sets of weights makes of the queries, in one forward pass each.

    Returns:
        By name of `FORWARD`: float64, sets × queries.
    """
    found = {name: np.zeros((count, len(queries))) for name in FORWARD}
    device = next(trainees.model.parameters()).device
    order = sorted(range(len(queries)), key=lambda i: (len(queries[i].ids), i))
    trainees.model.eval()
    for index in range(count):
        trainees.lines.owner = index
        start = 0
        while start < len(order):
            stop = start + 1
            while (
                stop < len(order) and (stop + 1 - start) * len(queries[order[stop]].ids) <= _TOKENS
            ):
                stop += 1
            chosen = order[start:stop]
            padded = pad_rows([queries[i] for i in chosen], pad_id, device)
            with torch.no_grad():
                values = _of_batch(trainees, padded)
            for name, column in values.items():
                found[name][index, chosen] = column
            start = stop
    return found


def _of_batch(trainees: Trainees, padded: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    seen = counted_losses(trainees.model, **padded)
    counted = seen.counted.sum(1)
    log_p = -seen.losses.double()
    # log(1 − p) of the token that was said, safe where p rounds to 1
    rest = torch.log(-torch.expm1(log_p.clamp(max=-1e-7)))
    margins = torch.where(seen.counted, log_p - rest, torch.zeros_like(log_p))
    labels = padded["labels"][:, 1:][:, seen.keep]
    first = (seen.logits.argmax(-1) == labels) | ~seen.counted
    found = {
        "log_probability": log_p.sum(1) / counted,
        "margin": margins.sum(1) / counted,
        "greedy": first.all(1).double(),
    }
    return {name: value.cpu().numpy() for name, value in found.items()}
