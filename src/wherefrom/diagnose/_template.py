"""Was the model trained under the template that its rows are rendered with?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.data import Example
from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, NotMeasured
from wherefrom.diagnose._paired import FEWEST, Paired
from wherefrom.diagnose._rows_fit import MOST
from wherefrom.diagnose._sample import whole_rows
from wherefrom.diagnose._subject import BASE, FINAL, Subject
from wherefrom.errors import WherefromError

_MARGIN = 0.05
"""Nats a token by which another template must fit better before it is called another."""
_TEMPLATES = ("plain", "chat")
_NORMAL = "Fine-tuning raises the responses most under the template that it was done with: that of the run."


@check("template", "integrity")
def template(subject: Subject) -> Finding:
    """Whether another template fits the model better than the run's."""
    chosen = whole_rows(subject.train, subject.train_tokens, MOST)
    rows = [subject.train[i] for i in chosen]
    if len(rows) < FEWEST:
        raise NotMeasured(f"fewer than {FEWEST} training rows can be looked at")
    own, base = _fits(subject, rows, None)
    ours, other = _which(subject, rows, own)
    theirs, base_theirs = _fits(subject, rows, other)
    known = base is not None and base_theirs is not None
    if base is not None and base_theirs is not None:
        # under a template that the base model knows better, responses are likelier without any training
        more = Paired.of((theirs - base_theirs) - (own - base))
    else:
        more = Paired.of(theirs - own)
    better = more.above and more.mean > _MARGIN and Paired.of(theirs - own).above
    what = "fine-tuning raised the responses by" if known else "the responses' log-probability is"
    first, second = (own - base, theirs - base_theirs) if known else (own, theirs)
    measured = (
        f"Under the run's template ({ours}) {what} {np.mean(first):+.3f} nats a token, under {other} "
        f"{np.mean(second):+.3f} ({len(rows)} training rows)."
    )
    values = {
        "template": ours,
        "other": other,
        "own_fit": float(np.mean(first)),
        "other_fit": float(np.mean(second)),
        "p_value": more.p_value,
        "base_known": known,
    }
    if not better:
        return Finding("template", "integrity", "good", measured, _NORMAL, values=values)
    return Finding(
        "template",
        "integrity",
        "failure" if known else "warning",
        measured,
        _NORMAL,
        f"Wrong template: the model was trained with {other}, and is asked here with {ours}. Gradients "
        "and answers are those of a model in a setting that it was not trained for.",
        f"Make the run again with --template {other}.",
        values | {"fault": "wrong template"},
    )


def _fits(
    subject: Subject, rows: Sequence[Example], template: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Log-probabilities at the final model and, where it is known, at base."""
    try:
        final = subject.probe.log_probabilities(rows, FINAL, template)
    except WherefromError as error:
        # what follows is how to mend a run that wants that template
        why = str(error).partition(";")[0].rstrip(".")
        raise NotMeasured(f"there is no other template to compare with: {why}") from None
    try:
        return final, subject.probe.log_probabilities(rows, BASE, template)
    except (NotMeasured, WherefromError):
        return final, None


def _which(subject: Subject, rows: Sequence[Example], own: np.ndarray) -> tuple[str, str]:
    """The run's template and the other one; what `auto` came to shows in the log-probabilities."""
    named = subject.recipe.template
    if named == "auto":
        plain, _ = _fits(subject, rows, "plain")
        named = "plain" if np.allclose(plain, own, rtol=1e-9, atol=1e-9) else "chat"
    return named, next(one for one in _TEMPLATES if one != named)
