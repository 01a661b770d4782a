"""The check that a run keeps: `check.json`, and whether it is still of what the run holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wherefrom.atomic import write_json
from wherefrom.diagnose import Trust, Verdict, read_trust
from wherefrom.identity import digest_value
from wherefrom.run._rows import rows_digest

if TYPE_CHECKING:
    from wherefrom.run._run import Run

FILE = "check.json"
_PASS = ("precision", "blocks", "error_dimension", "policy", "projection")
"""Settings of the pass that change scores."""


def keep_trust(run: Run, trust: Trust) -> Trust:
    """Writes what a check came to, with what it was made from."""
    kept = replace(trust, made_from=_made_from(run))
    write_json(run.path / FILE, kept.to_json())
    return kept


def trust_of(run: Run) -> Trust | None:
    """What the last check of a run came to; None where there was none.

    Of a check of another model, other rows or another pass than the run has by now nothing is left but
    that it is out of date.

    Raises:
        DataError: `check.json` is damaged, or of another version.
    """
    trust = read_trust(run.path / FILE)
    if trust is None:
        return None
    now = _made_from(run)
    changed = [name for name, held in trust.made_from.items() if now.get(name, held) != held]
    if not changed:
        return trust
    why = (
        f"out of date: the {' and the '.join(changed)} changed after this run was checked. Check it again "
        f"with `wherefrom check {run.path}`."
    )
    return replace(
        trust, verdict=Verdict("cannot tell", None, (why,)), findings=[], traces=[], seconds=0.0
    )


def _made_from(run: Run) -> dict[str, str]:
    index = run.passing.model_dump(mode="json", include=set(_PASS))
    # the card has the model whose signals are there: what scores and checks are of
    model = run.card.entries.get("model")
    return {
        "model": digest_value(model),
        "training rows": rows_digest(run.train),
        "queries": rows_digest(run.queries),
        "settings of the pass": digest_value(index),
    }
