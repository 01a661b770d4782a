"""From a run folder to a report."""

from __future__ import annotations

from pathlib import Path

from wherefrom.report._data import Key, ReportData
from wherefrom.report._page import write_report
from wherefrom.report._retraining import Retraining
from wherefrom.report._tokens_of_run import with_tokens
from wherefrom.run import (
    Run,
    calibrated,
    concentrations,
    evaluate_run,
    read_findings,
    retrainings_of,
    trust_of,
    truth_of,
)
from wherefrom.scores import Scores

# In the order of time: the card on disk sorts its keys, and "after" would come first.
MOMENTS = ("before fine-tuning", "after fine-tuning")


def report_run(run: Run, path: Path | None = None, *, tokens: bool = True) -> Path:
    """Writes the report of a run that has been scored.

    Args:
        run: the run.
        path: the file; `report.html` in the run's folder when None.
        tokens: take scores of the sample queries apart over tokens too, which runs the model.

    Returns:
        Where the report is.

    Raises:
        DataError, IdentityError: the run's `check.json` is damaged, or of other rows.
    """
    scores = _sized(run)
    first = concentrations(scores)
    truth = truth_of(run)
    entries, known = run.card.entries, run.behaviour()
    source = run.config.task or Path(str(run.config.data)).name
    model = _name(run.config.model)
    about = (
        run.task.about
        if run.task is not None
        else f"{model}, fine-tuned on {len(run.train)} rows of {source}."
    )
    data = ReportData(
        title=f"{source} — {model}",
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
        model=model,
        source=source,
        no_tokens=""
        if tokens
        else "Scores were not taken apart over tokens: --no-tokens was given.",
    )
    if tokens:
        data = with_tokens(run, data)
    target = path or run.path / "report.html"
    write_report(data, target)
    return target


def _sized(run: Run) -> dict[Key, Scores]:
    """The scores; those that foretell removals know how far off they are, where the run was retrained."""
    scores = run.score()
    # retraining was by the run's own recipe
    own = {key: one for key, one in scores.items() if key[0] == run.config.recipes()[0].name}
    return scores | dict(zip(own, calibrated(run, list(own.values())), strict=True))


def _name(model: str) -> str:
    """A model's name; of a folder or file the last part, since the rest is nobody else's business."""
    return Path(model).name if Path(model).exists() else model


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
