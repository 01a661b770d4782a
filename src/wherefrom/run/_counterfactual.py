"""Counterfactual: a run's scores held against retraining."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wherefrom.counterfactual import (
    Asked,
    Ending,
    brittleness,
    brittleness_summary,
    leave_one_out,
    leave_top_out,
    removal_frame,
    retrain_on_subsets,
    sizes,
    tail_patch,
    write_retrainings,
)
from wherefrom.errors import DataError, SettingError
from wherefrom.metrics import NoiseCeiling, lds_frame, noise_ceiling, rank_agreement
from wherefrom.progress import say
from wherefrom.run._ask import PARTS, CounterfactualPlan, ask, ranked
from wherefrom.run._evaluation import retrainings_of, write_frame
from wherefrom.run._finetune_stage import require_plain_base
from wherefrom.scores import Scores, write_scores
from wherefrom.world import world

if TYPE_CHECKING:
    import pandas as pd

    from wherefrom.run._run import Run


@dataclass
class Findings:
    """What retraining said.

    Attributes:
        told: whether this process is the one that tells people, of those that shared the work.
        frames: by part, one line for each method (and k).
        ceiling: of the linear datamodeling score; None where it was not asked for.
        gap: largest difference between an outcome after retraining on all rows and the same outcome of the
            run's own model.
        trained: models that this process trained; the others were known.
    """

    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    ceiling: NoiseCeiling | None = None
    gap: float = float("nan")
    trained: int = 0
    told: bool = True


def counterfactual(run: Run, plan: CounterfactualPlan) -> Findings:
    """Holds a run's scores against retraining; writes `counterfactual/` in the run's folder.

    Under `torchrun` or `accelerate launch` the models are spread over the processes.

    Raises:
        SettingError: the run was not fine-tuned by wherefrom, has no queries, or the plan does not fit.
        NonFiniteError: a retrained model diverged.
    """
    if run.config.finetune is None or run.tuned is None:
        raise SettingError(
            f"{run.path}: was not fine-tuned by wherefrom, so nobody knows how to train it again. Use "
            "`wherefrom finetune` on its data."
        )
    require_plain_base(run)
    here = world()
    asked, scores = ask(run, plan, here)
    found = Findings(gap=_gap(run, asked), told=here.first)
    job = _Job(run, plan, asked, scores, found)
    for part in PARTS:
        if part in plan.parts:
            _DO[part](job)
    found.trained = asked.workshop.trained
    if here.first:
        about = {key: _plain(value) for key, value in asdict(plan).items()}
        ceiling = None if found.ceiling is None else dict(found.ceiling._asdict())
        run.card.set(
            "counterfactual",
            about | {"gap": found.gap, "ceiling": _finite(ceiling)},
        )
    return found


def read_findings(run: Run) -> Findings | None:
    """What retraining said of a run, as `counterfactual` left it; None where it did not.

    Parts may come from several commands. The ceiling is that of the retrainings on disk; `gap` is of the
    last command.

    Raises:
        DataError: a file is damaged.
    """
    import pandas as pd

    frames: dict[str, pd.DataFrame] = {}
    for part in PARTS:
        path = run.path / "counterfactual" / f"{part}.parquet"
        if path.is_file():
            try:
                frames[part] = pd.read_parquet(path)
            except (OSError, ValueError) as error:
                raise DataError(f"{path}: damaged ({error}).") from None
    if not frames:
        return None
    retrainings = retrainings_of(run) if "lds" in frames else None
    gap = run.card.entries.get("counterfactual", {}).get("gap")
    return Findings(
        frames=frames,
        # the card has that of the last command, which may have retrained on no subset
        ceiling=None if retrainings is None else noise_ceiling(retrainings),
        gap=float("nan") if gap is None else float(gap),
    )


@dataclass(frozen=True)
class _Job:
    run: Run
    plan: CounterfactualPlan
    asked: Asked
    scores: list[Scores]
    found: Findings

    @cached_property
    def ranked(self) -> list[Scores]:
        return ranked(self.run, self.plan, self.scores)

    def keep(self, part: str, frame: pd.DataFrame) -> None:
        self.found.frames[part] = frame
        if self.asked.workshop.world.first:
            write_frame(frame, self.run.path / "counterfactual" / f"{part}.parquet")


def _lds(job: _Job) -> None:
    plan, asked = job.plan, job.asked
    retrainings = retrain_on_subsets(asked, plan.subsets, plan.keep)
    if asked.workshop.world.first:
        path = job.run.path / "counterfactual" / "retrainings.safetensors"
        write_retrainings(retrainings, path, plan.outcome)
    job.found.ceiling = noise_ceiling(retrainings)
    frame = lds_frame([asked.own(one) for one in job.scores], retrainings)
    job.keep("lds", frame.sort_values("value", ascending=False, ignore_index=True))


def _leave_out(job: _Job) -> None:
    ks = sizes(job.plan.k, len(job.asked.train_ids))
    found = leave_top_out(job.asked, job.ranked, ks, job.plan.draws)
    job.keep("leave-out", removal_frame(found))


def _tail_patch(job: _Job) -> None:
    if not job.asked.workshop.world.first:
        return
    ks = sizes(job.plan.k, len(job.asked.train_ids))
    ending = Ending.saved(job.run.trajectory)
    found = {
        (method, k): drop
        for k in ks
        for method, drop in tail_patch(
            job.asked, job.ranked, ending, k, steps=job.plan.steps, draws=job.plan.draws
        ).items()
    }
    job.keep("tail-patch", removal_frame(found).rename(columns={"drop": "gain"}))


def _brittleness(job: _Job) -> None:
    asked = job.asked
    if job.plan.outcome not in ("greedy", "behaviour"):
        asked = replace(asked, outcome="greedy")
    try:
        frame = brittleness(asked, job.ranked, job.plan.most or len(asked.train_ids) // 2)
    except SettingError as error:
        if job.plan.parts == ("brittleness",):
            raise
        job.run.warn(f"brittleness: {error}")
        return
    if asked.workshop.world.first:
        write_frame(frame, job.run.path / "counterfactual" / "brittleness-queries.parquet")
    job.keep("brittleness", brittleness_summary(frame))


def _leave_one_out(job: _Job) -> None:
    import pandas as pd

    truth = leave_one_out(job.asked)
    if job.asked.workshop.world.first:
        write_scores(truth, job.run.path / "counterfactual" / "leave-one-out-scores.parquet")
    lines = [
        {"method": one.method, "spearman": float(np.nanmean(found)), "queries": len(found)}
        for one in job.scores
        for found in [rank_agreement(job.asked.own(one), truth)]
    ]
    frame = pd.DataFrame(lines).sort_values("spearman", ascending=False, ignore_index=True)
    job.keep("leave-one-out", frame)


_DO: dict[str, Callable[[_Job], None]] = {
    "lds": _lds,
    "leave-out": _leave_out,
    "tail-patch": _tail_patch,
    "brittleness": _brittleness,
    "leave-one-out": _leave_one_out,
}


def _gap(run: Run, asked: Asked) -> float:
    full = asked.workshop.outcomes(
        np.ones((1, len(asked.train_ids))), asked.seeds[:1], asked.outcome, "the run itself"
    )[0, 0]
    ending = Ending.saved(run.trajectory)
    own = asked.workshop.retrainer.patched(ending, np.zeros((1, len(asked.train_ids))), 0)
    gap = float(np.abs(full - own[asked.outcome][0]).max())
    say(
        f"retrained on all rows, the queries' {asked.outcome} differs from the run's own model by at "
        f"most {gap:.1e}"
    )
    return gap


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _finite(values: dict[str, float] | None) -> dict[str, float | None] | None:
    if values is None:
        return None
    return {key: value if np.isfinite(value) else None for key, value in values.items()}
