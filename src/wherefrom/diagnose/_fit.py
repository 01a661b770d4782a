"""What fine-tuning did to responses, after their own prompts and after others'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wherefrom.data import Example, TokenRow
from wherefrom.diagnose._finding import NotMeasured
from wherefrom.diagnose._paired import Paired
from wherefrom.diagnose._sample import whole_rows
from wherefrom.diagnose._subject import BASE, FINAL, Subject
from wherefrom.errors import WherefromError


@dataclass(frozen=True)
class Fit:
    """How much likelier responses became.

    Attributes:
        lift: log-probability of each row's own response less that at base, nats a token; None where base
            is not known.
        own: how much more that is than for the same response after another row's prompt (without base,
            the same of the final model alone); None where no two rows differ in both.
        removed: share of the base model's surprise (mean negative log-probability) that is gone; None
            where base is not known.
    """

    lift: Paired | None
    own: Paired | None
    removed: float | None = None

    def values(self) -> dict[str, Any]:
        """As the values of a finding have it."""
        found: dict[str, Any] = {"surprise_removed": self.removed}
        for name, paired in (("lift", self.lift), ("own_over_other", self.own)):
            if paired is not None:
                found |= {
                    name: paired.mean,
                    f"{name}_p_value": paired.p_value,
                    f"{name}_rows": paired.pairs,
                }
        return found


def fit_of(subject: Subject, rows: Sequence[Example], tokens: Sequence[TokenRow], most: int) -> Fit:
    """The fit of at most `most` rows.

    Raises:
        NotMeasured: the model cannot be asked.
    """
    own, other, which = borrowed(rows, tokens, subject.recipe.max_length, most)
    try:
        final_own = subject.probe.log_probabilities(own, FINAL)
        final_other = subject.probe.log_probabilities(other, FINAL) if other else np.zeros(0)
    except WherefromError as error:
        raise NotMeasured(str(error)) from None
    try:
        base_own = subject.probe.log_probabilities(own, BASE)
        base_other = subject.probe.log_probabilities(other, BASE) if other else np.zeros(0)
    except (NotMeasured, WherefromError):
        return Fit(None, Paired.of(final_own[which] - final_other) if which else None)
    lift = final_own - base_own
    more = Paired.of(lift[which] - (final_other - base_other)) if which else None
    removed = float(lift.mean() / max(1e-12, -base_own.mean())) if len(own) else None
    return Fit(Paired.of(lift), more, removed)


def borrowed(
    rows: Sequence[Example], tokens: Sequence[TokenRow], limit: int, most: int
) -> tuple[list[Example], list[Example], list[int]]:
    """Rows, the same responses after another row's prompt, and which of the rows these are.

    Each row borrows the prompt of the next row, in the order of a digest of the ids, that differs from
    it in both prompt and response and leaves room for the response. That the response is the same on both
    sides takes out how likely it is by itself.

    Args:
        rows: examples.
        tokens: the same as the model reads them.
        limit: tokens of a row.
        most: rows that are looked at.
    """
    chosen = whole_rows(rows, tokens, most)
    own = [rows[i] for i in chosen]
    lengths = [_lengths(tokens[i]) for i in chosen]
    other, which = [], []
    for place, row in enumerate(own):
        for step in range(1, len(own)):
            at = (place + step) % len(own)
            lender = own[at]
            same = lender.response == row.response or lender.messages[:-1] == row.messages[:-1]
            if same or lengths[at][0] + lengths[place][1] > limit:
                continue
            turns = (*lender.messages[:-1], row.messages[-1])
            other.append(replace(row, id=f"{row.id} after {lender.id}", messages=turns))
            which.append(place)
            break
    return own, other, which


def _lengths(row: TokenRow) -> tuple[int, int]:
    prompt = int(row.attention[: row.prompt_end + 1].sum())
    return prompt, int(row.attention.sum()) - prompt
