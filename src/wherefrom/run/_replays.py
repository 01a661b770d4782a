"""Replays of a run's fine-tune: made for the methods that read their scores off them, and kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.atomic import file_name
from wherefrom.data import Recipe, Renderer
from wherefrom.identity import digest_value
from wherefrom.methods import Method, ReplayMethod
from wherefrom.models import prepare, trained_state
from wherefrom.progress import say
from wherefrom.run._rows import rows_digest
from wherefrom.scores import Scores, read_scores, write_scores

if TYPE_CHECKING:
    from wherefrom.run._run import Run

_WORTH_TELLING = 1e-2
"""Share of the way the run went by which a replay may miss its end before people are told."""


def can_replay(run: Run, recipe: Recipe) -> bool:
    """Whether the run's fine-tune can be taken again: it was made here, under this recipe."""
    return (
        run.config.finetune is not None
        and run.config.quantize is None
        and run.config.device_map is None
        and run.tuned is not None
        and bool(run.queries)
        and recipe == run.config.recipes()[0]
    )


def wanted(methods: Sequence[Method]) -> list[str]:
    """Names of the replayed quantities that methods read."""
    found = {name for m in methods if isinstance(m, ReplayMethod) for name in m.replays}
    return sorted(found)


def make_replays(run: Run, recipe: Recipe, names: Sequence[str]) -> None:
    """Replays the run for those of the names that are not there yet, saying first what that costs."""
    missing = [name for name in names if _read(run, name) is None]
    if not missing:
        return
    from wherefrom.counterfactual import (
        TrainingPlan,
        duration,
        in_run_shapley,
        unroll,
        unroll_cost,
    )

    settings = run.config.finetune
    assert settings is not None, "asked of can_replay"
    renderer = Renderer(run.model.tokenizer, recipe)
    plan = TrainingPlan.saved(run.trajectory, settings)
    prepared = prepare(run.config.model, settings, trust_remote_code=run.config.trust_remote_code)
    job: tuple[Any, ...] = (
        prepared,
        renderer.render_all(run.train),
        renderer.render_all(run.queries),
        settings,
        plan,
    )
    cost = unroll_cost(*job)
    say(
        f"replay of {cost.steps} steps for {cost.queries} queries: about {duration(cost.seconds)} each for "
        f"{', '.join(missing)}"
    )
    final = trained_state(run.model.model)
    if "unrolled" in missing:
        with run.card.timed("unroll"):
            found = unroll(*job, run=final)
        _keep(run, {"unrolled": found.values}, found.gap)
    for kind in ("published", "preconditioned"):
        orders = [int(name[-1]) for name in missing if name.startswith(f"in-run {kind}")]
        if orders:
            with run.card.timed(f"in-run Shapley ({kind})"):
                shares = in_run_shapley(
                    *job,
                    second_order=2 in orders,
                    preconditioned=kind == "preconditioned",
                    run=final,
                )
            parts = {f"in-run {kind} order 1": shares.first}
            if shares.second is not None:
                parts[f"in-run {kind} order 2"] = shares.second
            _keep(run, parts, shares.gap)


def read_replays(run: Run, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Those of the names that are there, queries × training rows."""
    return {name: values for name in names if (values := _read(run, name)) is not None}


def _keep(run: Run, parts: dict[str, np.ndarray], gap: float | None) -> None:
    if gap is not None and gap > _WORTH_TELLING:
        run.warn(
            f"the replay ends {gap:.1%} of the way off the run's own weights (it runs in float32; a "
            "fine-tune in bfloat16 rounds otherwise), so its scores are those of a neighbouring run."
        )
    for name, values in parts.items():
        ids = tuple(q.id for q in run.queries), tuple(r.id for r in run.train)
        about = {"made from": _made_from(run), "gap": gap}
        write_scores(Scores(values, *ids, name, about, "nats a token"), _path(run, name))


def _read(run: Run, name: str) -> np.ndarray | None:
    path = _path(run, name)
    if not path.is_file():
        return None
    held = read_scores(path)
    return held.values if held.settings["made from"] == _made_from(run) else None


def _made_from(run: Run) -> str:
    return digest_value([rows_digest(run.train), rows_digest(run.queries)])


def _path(run: Run, name: str) -> Path:
    return run.path / "replays" / f"{file_name(name)}.parquet"
