"""From a run folder to a report."""

from __future__ import annotations

from pathlib import Path

from wherefrom.report._data import ReportData
from wherefrom.report._page import write_report
from wherefrom.report._retraining import Retraining
from wherefrom.run import (
    Run,
    concentrations,
    evaluate_run,
    read_findings,
    retrainings_of,
    trust_of,
    truth_of,
)

# In the order of time: the card on disk sorts its keys, and "after" would come first.
MOMENTS = ("before fine-tuning", "after fine-tuning")


def report_run(run: Run, path: Path | None = None) -> Path:
    """Writes the report of a run that has been scored.

    Args:
        run: the run.
        path: the file; `report.html` in the run's folder when None.

    Returns:
        Where the report is.

    Raises:
        DataError, IdentityError: the run's `check.json` is damaged, or of other rows.
    """
    scores = run.score()
    first = concentrations(scores)
    truth = truth_of(run)
    entries, known = run.card.entries, run.behaviour()
    about = (
        run.task.about
        if run.task is not None
        else f"{len(run.train)} rows of {run.config.data}, fine-tuned on {run.config.model}."
    )
    data = ReportData(
        title=f"{run.config.task or Path(str(run.config.data)).name} — {run.config.model}",
        about=about,
        evaluation=evaluate_run(run, scores),
        train=tuple(run.train),
        queries=tuple(run.queries),
        scores=scores,
        seconds=dict(run.seconds()),
        concentration={
            key: (c.distinct, c.of, c.most_frequent, c.share) for key, c in first.items()
        },
        behaviour={moment: known[moment] for moment in MOMENTS if moment in known},
        timings=entries.get("timings", {}),
        card={k: v for k, v in entries.items() if k not in ("timings", "notes", "behaviour")}
        | {"config": run.config.model_dump(mode="json")},
        notes=tuple(entries.get("notes", ())),
        chance={} if truth is None else truth.chance(),
        retraining=_retraining(run),
        trust=trust_of(run),
    )
    target = path or run.path / "report.html"
    write_report(data, target)
    return target


def _retraining(run: Run) -> Retraining | None:
    found = read_findings(run)
    if found is None:
        return None
    return Retraining(
        recipe=run.config.recipes()[0].name,
        frames=found.frames,
        ceiling=found.ceiling,
        gap=found.gap,
        settings=run.card.entries.get("counterfactual", {}),
        retrainings=retrainings_of(run) if "lds" in found.frames else None,
    )
