"""Counterfactual: a run's scores held against retraining."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import asdict, dataclass, field
from os import devnull
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wherefrom.counterfactual import (
    OUTCOMES,
    Asked,
    Behaviour,
    Ending,
    OutcomeCache,
    Ranks,
    Retrainer,
    Workshop,
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
from wherefrom.data import Example, Renderer
from wherefrom.errors import DataError, SettingError
from wherefrom.methods import Evidence, parse_method, score_all
from wherefrom.metrics import NoiseCeiling, lds_frame, noise_ceiling, rank_agreement
from wherefrom.progress import say
from wherefrom.run._evaluation import retrainings_of, write_frame
from wherefrom.scores import Scores, write_scores

if TYPE_CHECKING:
    import pandas as pd

    from wherefrom.run._run import Run

PARTS = ("lds", "leave-out", "tail-patch", "brittleness", "leave-one-out")
LEXICAL = "bm25"
LEADING = ("influence", "ekfac", "gradient_dot", "less", "for_value", "repsim", LEXICAL, "random")
"""Methods whose top rows are removed where nobody chooses: each costs a retraining a query."""


@dataclass(frozen=True)
class CounterfactualPlan:
    """What is retrained and asked.

    Attributes:
        parts: some of `PARTS`.
        outcome: one of `wherefrom.counterfactual.OUTCOMES`.
        methods: methods that are judged. All of the run's when None; of removals, which cost a
            retraining a query, then `LEADING`.
        subsets: random subsets of the linear datamodeling score (m).
        keep: share of the rows that each keeps (α).
        seeds: how many seeds, the run's own first.
        k: rows removed or stepped on: numbers or percentages.
        draws: random sets of k rows that a method's top rows are compared with.
        queries: how many of the run's queries, evenly spread; all when None.
        most: most rows that brittleness removes; half of them when None.
        steps: of tail-patch.
        cache: folder of the outcomes; the run's own when None.
        together: adapters trained at once; chosen when None.
    """

    parts: tuple[str, ...] = ("lds", "leave-out", "tail-patch")
    outcome: str = "log_probability"
    methods: tuple[str, ...] | None = None
    subsets: int = 32
    keep: float = 0.5
    seeds: int = 1
    k: tuple[str, ...] = ("5%",)
    draws: int = 20
    queries: int | None = 20
    most: int | None = None
    steps: int = 1
    cache: Path | None = None
    together: int | None = None

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise SettingError(f"no part is called {unknown}; there are {', '.join(PARTS)}.")
        if self.outcome not in OUTCOMES:
            raise SettingError(
                f"no outcome is called {self.outcome!r}; there are {', '.join(OUTCOMES)}."
            )
        for name in ("subsets", "seeds", "draws", "steps"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; give at least 1.")


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
    ranks = Ranks.launched()
    with nullcontext() if ranks.first else _silence():
        asked, scores = ask(run, plan, ranks)
        found = Findings(gap=_gap(run, asked), told=ranks.first)
        for part in PARTS:
            if part in plan.parts:
                _DO[part](_Job(run, plan, asked, scores, found))
        found.trained = asked.workshop.trained
        if ranks.first:
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

    @property
    def ranked(self) -> list[Scores]:
        """Scores whose top rows are removed: the chosen methods, and always a lexical one."""
        chosen = self.scores
        if self.plan.methods is None:
            chosen = [one for one in chosen if one.method in LEADING]
        names = [one.method for one in chosen]
        return chosen if LEXICAL in names else [*chosen, _lexical(self.run)]

    def keep(self, part: str, frame: pd.DataFrame) -> None:
        self.found.frames[part] = frame
        if self.asked.workshop.ranks.first:
            write_frame(frame, self.run.path / "counterfactual" / f"{part}.parquet")


def _lds(job: _Job) -> None:
    plan, asked = job.plan, job.asked
    retrainings = retrain_on_subsets(asked, plan.subsets, plan.keep)
    if asked.workshop.ranks.first:
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
    if not job.asked.workshop.ranks.first:
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
    outcome = job.asked.outcome
    if job.plan.outcome not in ("greedy", "behaviour"):
        outcome = "greedy"
    asked = Asked(
        job.asked.workshop, job.asked.seeds, outcome, job.asked.query_ids, job.asked.train_ids
    )
    try:
        frame = brittleness(asked, job.ranked, job.plan.most or len(asked.train_ids) // 2)
    except SettingError as error:
        if job.plan.parts == ("brittleness",):
            raise
        job.run.warn(f"brittleness: {error}")
        return
    if asked.workshop.ranks.first:
        write_frame(frame, job.run.path / "counterfactual" / "brittleness-queries.parquet")
    job.keep("brittleness", brittleness_summary(frame))


def _leave_one_out(job: _Job) -> None:
    import pandas as pd

    truth = leave_one_out(job.asked)
    if job.asked.workshop.ranks.first:
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


def ask(
    run: Run, plan: CounterfactualPlan, ranks: Ranks | None = None
) -> tuple[Asked, list[Scores]]:
    """Makes ready to retrain a run: for experiments beyond those of `PARTS`.

    Args:
        run: whose recipe is trained again; scored where it is not yet.
        plan: outcome, seeds, queries, cache and methods; the rest plays no part.
        ranks: the processes that share the work; this one alone when None.

    Returns:
        What to ask (outcomes of any subset of the rows), and the scores of the plan's methods.

    Raises:
        SettingError: the run has no queries.
    """
    ranks = ranks or Ranks()
    if not run.queries:
        raise SettingError(f"{run.path}: no queries to ask. Make the run with --queries.")
    settings = run.config.finetune
    assert settings is not None, "checked before"
    if not ranks.first:
        ranks.wait()
    recipe = run.config.recipes()[0]
    scores = [found for (name, _), found in run.score().items() if name == recipe.name]
    if ranks.first:
        ranks.wait()
    if plan.methods is not None:
        wanted = {parse_method(spec).spec for spec in plan.methods}
        scores = [one for one in scores if one.method in wanted]
    renderer = Renderer(run.model.tokenizer, recipe)
    queries = _spread(run.queries, plan.queries)
    behaviour = _behaviour(run, renderer, queries) if plan.outcome == "behaviour" else None
    retrainer = Retrainer(
        run.config.model,
        renderer.render_all(run.train),
        renderer.render_all(queries),
        settings,
        behaviour=behaviour,
        trajectory=run.trajectory,
        trust_remote_code=run.config.trust_remote_code,
        together=plan.together,
    )
    cache = OutcomeCache(plan.cache or run.path / "counterfactual" / "cache")
    seeds = tuple(settings.seed + i for i in range(plan.seeds))
    asked = Asked(
        Workshop(retrainer, cache, ranks),
        seeds,
        plan.outcome if behaviour is None else behaviour.name,
        tuple(query.id for query in queries),
        tuple(row.id for row in run.train),
    )
    return asked, scores


def _behaviour(run: Run, renderer: Renderer, queries: Sequence[Example]) -> Behaviour:
    task = run.task
    if task is None:
        raise SettingError(
            f"{run.path}: only a task knows what behaviour to look for. Use --outcome greedy."
        )

    def judge(answers: list[str]) -> list[float]:
        return [float(task.behaves(q, a)) for q, a in zip(queries, answers, strict=True)]

    prompts = [renderer.prompt_ids(query) for query in queries]
    return Behaviour(f"behaviour of {task.name}", prompts, judge, task.max_new_tokens)


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


def _lexical(run: Run) -> Scores:
    evidence = Evidence(run.train, run.queries, run.config.recipes()[0])
    return score_all([parse_method(LEXICAL)], evidence).scores[0]


def _spread(queries: Sequence[Example], most: int | None) -> list[Example]:
    if most is None or most >= len(queries):
        return list(queries)
    return [queries[i] for i in np.linspace(0, len(queries) - 1, most).round().astype(int)]


@contextmanager
def _silence() -> Iterator[None]:
    with Path(devnull).open("w") as nowhere, redirect_stderr(nowhere):
        yield


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _finite(values: dict[str, float] | None) -> dict[str, float | None] | None:
    if values is None:
        return None
    return {key: value if np.isfinite(value) else None for key, value in values.items()}
