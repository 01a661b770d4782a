"""What does the loss count: the responses, or the prompts and padding too?"""

from __future__ import annotations

import numpy as np

from wherefrom.data import TokenRow
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import percent

_MOST = 0.5
_NORMAL = "The loss counts the responses' tokens, the one that ends the turn too, and nothing else."


@check("loss-mask", "integrity")
def loss_mask(subject: Subject) -> Finding:
    """Which tokens the loss counts: responses, prompts, padding."""
    rows = subject.train_tokens
    counts = np.array([_counts(row, subject.pad_id) for row in rows]).reshape(-1, 4).sum(0)
    pads, prompt, response, missed = (int(count) for count in counts)
    total = pads + prompt + response
    if not total:
        raise NotMeasured("no token of any training row counts")
    shares = {
        "padding": pads / total,
        "prompt": prompt / total,
        "response": response / total,
        "uncounted_response": missed / max(1, missed + response),
    }
    measured = (
        f"Of {total:,} counted tokens {percent(pads / total)} are padding, {percent(prompt / total)} "
        f"prompts and {percent(response / total)} responses."
    )
    if pads:
        level: Level = "failure" if pads / total > _MOST else "warning"
        return Finding(
            "loss-mask",
            "integrity",
            level,
            measured,
            _NORMAL,
            "Padding left in the loss: the model is taught to predict padding, and short rows, which have "
            "the most of it, look alike whatever they say.",
            "Use --mask response (recipe sound-1), and train again if the fine-tune had it too.",
            shares | {"fault": "padding left in the loss"},
        )
    if missed:
        return Finding(
            "loss-mask",
            "integrity",
            "warning",
            f"{measured} {percent(shares['uncounted_response'])} of the responses' tokens do not count.",
            _NORMAL,
            "Part of what the rows teach is not in their gradients.",
            "Check the template and the mask.",
            shares,
        )
    if prompt:
        return Finding(
            "loss-mask",
            "integrity",
            "notice",
            measured,
            _NORMAL,
            "Prompts count too, so rows are matched by how they ask as much as by what they answer.",
            "Use --mask response unless the fine-tune counted prompts as well.",
            shares,
        )
    return Finding("loss-mask", "integrity", "good", measured, _NORMAL, values=shares)


def _counts(row: TokenRow, pad_id: int) -> tuple[int, int, int, int]:
    """Counted pads, prompt tokens and response tokens, and response tokens that do not count.

    Position 0 is never counted, as nothing predicts it.
    """
    pads = padding(row, pad_id)
    counted = row.loss_mask
    response = row.response_mask & ~pads
    return (
        int((counted & pads).sum()),
        int((counted & ~pads & ~response).sum()),
        int((counted & response).sum()),
        int((response & ~counted)[1:].sum()),
    )


def padding(row: TokenRow, pad_id: int) -> np.ndarray:
    """Which tokens of a row are padding: boolean, (T,).

    Those that the recipe put in and hid from attention. Where padding came in as text, it is what repeats
    the pad token at either end: one of them is let pass, since the pad token often is the one that
    ends a turn or begins a text.
    """
    found = ~row.attention
    shown = np.flatnonzero(row.attention)
    for order in (shown, shown[::-1]):
        # at the start and at the end
        others = np.flatnonzero(row.ids[order] != pad_id)
        length = int(others[0]) if len(others) else len(order)
        found[order[: max(0, length - 1)]] = True
    return np.asarray(found)
