"""What is asked of a run's retrained models: the plan, the models, the scores that are judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from wherefrom.counterfactual import (
    OUTCOMES,
    Asked,
    Behaviour,
    OutcomeCache,
    Retrainer,
    Workshop,
)
from wherefrom.data import Example, Renderer
from wherefrom.errors import SettingError
from wherefrom.methods import Evidence, parse_method, score_all
from wherefrom.scores import Scores, read_matrix
from wherefrom.world import World

if TYPE_CHECKING:
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
        files: score matrices that other tools wrote, judged beside the methods under their files' names.
        sign: of these files: `negative` where the most helpful row has the lowest score.
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
    files: tuple[Path, ...] = ()
    sign: Literal["positive", "negative"] = "positive"
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
        stems = [path.stem for path in self.files]
        if len(set(stems)) < len(stems):
            raise SettingError(
                f"two score files are called alike ({', '.join(stems)}); rename one."
            )
        for name in ("subsets", "seeds", "draws", "steps"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}; give at least 1.")


def ask(
    run: Run, plan: CounterfactualPlan, here: World | None = None
) -> tuple[Asked, list[Scores]]:
    """Makes ready to retrain a run: for experiments beyond those of `PARTS`.

    Args:
        run: whose recipe is trained again; scored where it is not yet.
        plan: outcome, seeds, queries, cache and methods; the rest plays no part.
        here: the processes that share the work; this one alone when None.

    Returns:
        What to ask (outcomes of any subset of the rows), and the scores of the plan's methods.

    Raises:
        SettingError: the run has no queries.
    """
    here = here or World()
    if not run.queries:
        raise SettingError(f"{run.path}: no queries to ask. Make the run with --queries.")
    settings = run.config.finetune
    assert settings is not None, "checked before"
    if not here.first:
        here.wait()
    recipe = run.config.recipes()[0]
    scores = [found for (name, _), found in run.score().items() if name == recipe.name]
    if here.first:
        here.wait()
    if plan.methods is not None:
        wanted = {parse_method(spec).spec for spec in plan.methods}
        scores = [one for one in scores if one.method in wanted]
    ids = tuple(query.id for query in run.queries), tuple(row.id for row in run.train)
    scores += [read_matrix(path, *ids, plan.sign) for path in plan.files]
    renderer = Renderer(run.model.tokenizer, recipe)
    queries = spread(run.queries, plan.queries)
    behaviour = _behaviour(run, renderer, queries) if plan.outcome == "behaviour" else None
    seeds = tuple(settings.seed + i for i in range(plan.seeds))
    asked = ask_queries(
        run,
        queries,
        plan.outcome,
        seeds,
        behaviour=behaviour,
        cache=plan.cache,
        together=plan.together,
        here=here,
    )
    return asked, scores


def ask_queries(
    run: Run,
    queries: Sequence[Example],
    outcome: str,
    seeds: Sequence[int],
    *,
    behaviour: Behaviour | None = None,
    cache: Path | None = None,
    together: int | None = None,
    here: World | None = None,
) -> Asked:
    """Makes ready to train a run again, whole or for a few steps, and ask it queries.

    Args:
        run: fine-tuned by wherefrom.
        queries: any, those of the run or others.
        outcome: one of `wherefrom.counterfactual.OUTCOMES`.
        seeds: of the retrained runs.
        behaviour: how to tell whether a model behaves; its name then is the outcome.
        cache: folder of the outcomes; the run's own when None.
        together: adapters trained at once; chosen when None.
        here: the processes that share the work; this one alone when None.
    """
    settings = run.config.finetune
    assert settings is not None, "checked before"
    renderer = Renderer(run.model.tokenizer, run.config.recipes()[0])
    retrainer = Retrainer(
        run.config.model,
        renderer.render_all(run.train),
        renderer.render_all(queries),
        settings,
        behaviour=behaviour,
        trajectory=run.trajectory,
        trust_remote_code=run.config.trust_remote_code,
        together=together,
    )
    kept = OutcomeCache(cache or run.path / "counterfactual" / "cache")
    return Asked(
        Workshop(retrainer, kept, here or World()),
        seeds,
        outcome if behaviour is None else behaviour.name,
        tuple(query.id for query in queries),
        tuple(row.id for row in run.train),
    )


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


def ranked(run: Run, plan: CounterfactualPlan, scores: Sequence[Scores]) -> list[Scores]:
    """Scores whose top rows are removed: what was chosen, and always a lexical method."""
    chosen = list(scores)
    if plan.methods is None:
        names = {*LEADING, *(path.stem for path in plan.files)}
        chosen = [one for one in chosen if one.method in names]
    return chosen if any(one.method == LEXICAL for one in chosen) else [*chosen, _lexical(run)]


def _lexical(run: Run) -> Scores:
    evidence = Evidence(run.train, run.queries, run.config.recipes()[0])
    return score_all([parse_method(LEXICAL)], evidence).scores[0]


def spread(queries: Sequence[Example], most: int | None) -> list[Example]:
    """At most that many of them, evenly spread; all when None."""
    if most is None or most >= len(queries):
        return list(queries)
    return [queries[i] for i in np.linspace(0, len(queries) - 1, most).round().astype(int)]
