"""Do the rows and the model belong together: was it these responses, to these prompts, that it learnt?"""

from __future__ import annotations

from wherefrom.diagnose._check import check
from wherefrom.diagnose._finding import Finding, Level, NotMeasured
from wherefrom.diagnose._fit import Fit, fit_of
from wherefrom.diagnose._paired import FEWEST
from wherefrom.diagnose._subject import Subject
from wherefrom.diagnose._wording import counted

MOST = 24
"""Training rows that are looked at, by the `template` check too: what was asked once is known."""
MOST_QUERIES = 12
_FEWEST_QUERIES = 8
_NORMAL = (
    "Fine-tuning makes a training row's own response likelier, and likelier after its own prompt than "
    "after another row's; on held-out queries the same, to a lesser degree."
)
_LITTLE = 0.1
"""Nats a token below which fine-tuning has hardly done a thing, right or wrong."""
_KNOWN = 0.2
"""Share of the base model's surprise at the responses that fine-tuning takes away where it learnt them."""

_CARRIED = 0.5
"""Share of the rows' own preference for their prompts that queries may show and still pass, however few."""


@check("rows-fit", "integrity")
def rows_fit(subject: Subject) -> Finding:
    """Whether the model learnt these responses, to these prompts."""
    train = fit_of(subject, subject.train, subject.train_tokens, MOST)
    if max((one.pairs for one in (train.lift, train.own) if one), default=0) < FEWEST:
        raise NotMeasured(f"fewer than {FEWEST} training rows can be looked at")
    queries = _queries(subject)
    values = {"rows": train.values()}
    said = _said(train, "training row")
    if queries is not None:
        values["queries"] = queries.values()
        said += f" {_said(queries, 'query', 'queries')}"
    here = subject.final.step is not None
    found = _unlearnt(train, here) or _unlinked(train, here) or _memorised(train, queries)
    if found is not None:
        level, fault, meaning, advice = found
        about = {**values, "fault": fault}
        return Finding("rows-fit", "integrity", level, said, _NORMAL, meaning, advice, about)
    meaning = ""
    if train.lift is None:
        meaning = "The weights before fine-tuning are not known, so this cannot tell what fine-tuning did."
    return Finding("rows-fit", "integrity", "good", said, _NORMAL, meaning, values=values)


_Fault = tuple[Level, str, str, str]


def _unlearnt(train: Fit, here: bool) -> _Fault | None:
    """The rows' own responses became no likelier."""
    if train.lift is None or train.lift.above:
        return None
    if here:
        return (
            "failure",
            "nothing learnt",
            "The fine-tune taught the model nothing of its rows: there is no trace of them to be found.",
            "Train longer or with another learning rate, and look whether the training loss fell.",
        )
    return (
        "failure",
        "adapter from another run",
        "The model was not trained on these rows: the adapter is from another run, or the rows are of "
        "another data set.",
        "Check that --data holds the rows that this adapter was trained on.",
    )


def _unlinked(train: Fit, here: bool) -> _Fault | None:
    """The responses became likelier, and no more so after their own prompts than after any."""
    if train.own is None or train.own.above:
        return None
    meaning = "The model does not know which response belongs to which prompt. "
    if here:
        little = train.lift is not None and train.lift.mean < _LITTLE
        return (
            "notice" if little else "warning",
            "hardly trained" if little else "shuffled labels",
            f"{meaning}Either it was trained on shuffled labels (responses that changed places), or the "
            "fine-tune was too short to learn more than the style. An answer can then be right "
            "about how a response sounds, not about what it says.",
            "Compare a few rows with their source; if they are right, train longer.",
        )
    strange = train.removed is not None and train.removed < _KNOWN
    if strange:
        meaning += (
            "It hardly knows the responses either, so this looks like an adapter from another run, or rows "
            "of another data set; else like shuffled labels, or a fine-tune too short to learn them."
        )
    else:
        meaning += (
            "It may know the responses themselves, so this looks like shuffled labels (responses that "
            "changed places among the rows); else like an adapter from another run whose rows resemble "
            "these, or a fine-tune that learnt no more than the style."
        )
    return (
        "warning",
        "adapter from another run" if strange else "shuffled labels",
        meaning,
        "Compare a few rows with their source, and check that the adapter is the one trained on them.",
    )


def _memorised(train: Fit, queries: Fit | None) -> _Fault | None:
    """Rows are known by heart, and queries have nothing of it."""
    if train.own is None:
        raise NotMeasured(
            "no two of the rows looked at differ in both prompt and response; fine-tuning did raise their "
            "responses"
        )
    if queries is None or queries.own is None or train.own.mean < _LITTLE:
        return None
    # a dozen queries may miss a real difference by chance, but hardly one as large as the rows' own
    if queries.own.above or queries.own.mean > _CARRIED * train.own.mean:
        return None
    return (
        "warning",
        "memorised",
        "The model memorised which response belongs to which of its rows' prompts, and hardly any of that "
        "shows at the queries: shuffled labels before training, too few rows, or queries about something "
        "else. What the rows do to a query is then a matter of style more than of what they say.",
        "Check that the rows' responses are right and that the queries are of the same kind.",
    )


def _queries(subject: Subject) -> Fit | None:
    if len(subject.queries) < _FEWEST_QUERIES:
        return None
    try:
        found = fit_of(subject, subject.queries, subject.query_tokens, MOST_QUERIES)
    except NotMeasured:
        return None
    return found if found.own is not None and found.own.pairs >= _FEWEST_QUERIES else None


def _said(fit: Fit, noun: str, many: str = "") -> str:
    parts = []
    if fit.lift is not None:
        parts.append(
            f"Fine-tuning moved the log-probability of {counted(fit.lift.pairs, noun, many)} by "
            f"{fit.lift.mean:+.3f} nats a token on average (Wilcoxon p = {fit.lift.p_value:.2g})."
        )
    if fit.own is not None:
        what = "That is" if fit.lift is not None else "The log-probability is"
        parts.append(
            f"{what} {fit.own.mean:+.3f} nats a token more after its own prompt than after another row's "
            f"(p = {fit.own.p_value:.2g}, {counted(fit.own.pairs, noun, many)})."
        )
    return " ".join(parts)
