"""`wherefrom counterfactual`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _complete as complete
from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("counterfactual")(counterfactual)


def counterfactual(
    run: o.RunFolder,
    parts: Annotated[
        str,
        typer.Option(
            help="What to do, comma-separated: lds, leave-out, tail-patch, brittleness, leave-one-out."
        ),
    ] = "lds,leave-out,tail-patch",
    methods: Annotated[
        str | None,
        typer.Option(
            help="Methods to judge; captured for where they are missing. If not given: lds judges all of "
            "the run's, removals a few.",
            show_default=False,
            autocompletion=complete.methods,
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Anyone's score matrix, judged too. May be repeated.", show_default=False
        ),
    ] = None,
    sign: Annotated[
        str,
        typer.Option(help="Of --scores: negative where the most helpful row has the lowest score."),
    ] = "positive",
    outcome: Annotated[
        str, typer.Option(help="log_probability, margin, greedy (would it say this?) or behaviour.")
    ] = "log_probability",
    subsets: Annotated[int, typer.Option(min=2, help="lds: random subsets (m).")] = 32,
    keep: Annotated[float, typer.Option(help="lds: share of the rows each keeps (α).")] = 0.5,
    seeds: Annotated[
        int, typer.Option(min=1, help="Seeds of each retraining, the run's own first.")
    ] = 1,
    k: Annotated[
        str, typer.Option(help="leave-out, tail-patch: rows, comma-separated: 5 or 10%.")
    ] = "5%",
    draws: Annotated[
        int, typer.Option(min=1, help="leave-out, tail-patch: random sets of k rows.")
    ] = 20,
    query_limit: Annotated[
        int, typer.Option(min=1, help="Queries that are asked, evenly spread.")
    ] = 20,
    most: Annotated[
        int | None, typer.Option(min=1, help="brittleness: most rows removed; half if not given.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="tail-patch: steps.")] = 1,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder of retrained models' outcomes, shared at will; in the run if not given."
        ),
    ] = None,
    together: Annotated[
        int | None, typer.Option(min=1, help="Adapters trained at once; chosen if not given.")
    ] = None,
    form: o.Formatted = o.Format.table,
) -> None:
    """Hold scores against the truth: retrain without rows and see what becomes of the answers.

    Outcomes of every retrained model are kept; a stopped command goes on where it ended. Under `torchrun -m
    wherefrom counterfactual …` the models are spread over the processes.

    Example: wherefrom counterfactual runs/demo --subsets 100 --seeds 3 --methods influence,repsim,bm25
    """
    from wherefrom.cli._print import print_findings
    from wherefrom.methods import split_specs
    from wherefrom.run import CounterfactualPlan, open_or_make
    from wherefrom.run import counterfactual as hold

    if sign not in ("positive", "negative"):
        raise typer.BadParameter("must be positive or negative", param_hint="--sign")
    chosen = tuple(split_specs(methods)) if methods else None
    plan = CounterfactualPlan(
        parts=tuple(part.strip() for part in parts.split(",")),
        outcome=outcome,
        methods=chosen,
        files=tuple(scores or ()),
        sign="negative" if sign == "negative" else "positive",
        subsets=subsets,
        keep=keep,
        seeds=seeds,
        k=tuple(k.split(",")),
        draws=draws,
        queries=query_limit,
        most=most,
        steps=steps,
        cache=cache,
        together=together,
    )
    opened = open_or_make(run, makes={}, changes={}, index={})
    if chosen:
        known = {*opened.config.methods}
        wanted = [*opened.config.methods, *(spec for spec in chosen if spec not in known)]
        opened = open_or_make(run, makes={}, changes={"methods": wanted}, index={})
        opened.index()
    found = hold(opened, plan)
    if found.told:
        print_findings(found, form)
