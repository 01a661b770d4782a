"""`wherefrom trace`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wherefrom.cli import _options as o


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("trace")(trace)


def trace(
    run: o.RunFolder,
    prompt: Annotated[
        str | None, typer.Option(help="What the model is asked.", show_default=False)
    ] = None,
    response: Annotated[
        str | None,
        typer.Option(help="What it said; it is asked when not given.", show_default=False),
    ] = None,
    methods: o.Methods = "influence",
    top: Annotated[int, typer.Option(min=1, help="How many proponents and opponents.")] = 5,
    queries: Annotated[
        str | None,
        typer.Option(
            help="Many questions with their responses, as a file or data set: signals of the training rows "
            "pass by in chunks and need not fit memory. Methods on gradients only.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="With --queries: a folder for a Parquet file a method.", show_default=False
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Step the model on the top rows, random rows and the nearest by words, for the verdict.",
        ),
    ] = False,
    form: o.Formatted = o.Format.table,
) -> None:
    """The training rows that pushed the model most towards a response, and most against it.

    Example: wherefrom trace runs/demo --prompt "Which rule? …"

    Many at once: wherefrom trace runs/demo --queries q.jsonl --top 100 --out top/
    """
    from wherefrom.cli._print import print_ranked, print_rows
    from wherefrom.cli._print_trust import print_verdict, verdict_cells
    from wherefrom.cli._trace_many import trace_many
    from wherefrom.errors import SettingError
    from wherefrom.methods import split_specs
    from wherefrom.run import Run
    from wherefrom.safetext import one_line

    opened = Run.open(run)
    if (prompt is None) == (queries is None):
        raise SettingError("give either --prompt or --queries.")
    if prompt is None:
        trace_many(opened, str(queries), split_specs(methods), top, out, form)
        return
    answer = opened.trace(prompt, response, split_specs(methods), verify=verify)
    if form is o.Format.table:
        said = "the model says" if answer.generated else "response"
        print(f"{said}: {one_line(answer.query.response, 300)}\n")
        for scores in answer.scores:
            unit = f"{scores.method} ({scores.unit})"
            print_ranked(f"proponents, by {unit}", scores.top(top), opened.train)
            print()
            print_ranked(f"opponents, by {unit}", scores.top(top, opponents=True), opened.train)
            print()
        print_verdict(answer.trust.verdict, answer.trust.spot, len(answer.trust.rows))
        return
    by_id = {row.id: row for row in opened.train}
    rows = []
    for scores in answer.scores:
        for side, opponents in (("proponent", False), ("opponent", True)):
            frame = scores.top(top, opponents=opponents).to_pandas()
            for line in frame.to_dict("records"):
                row = by_id[str(line["train"])]
                about = [scores.method, side, line["rank"], line["score"], scores.unit, row.id]
                text = [row.label, row.source, row.prompt, row.response, answer.query.response]
                # the verdict is on what the leading method found
                leading = scores is answer.scores[0]
                trust = list(verdict_cells(answer.trust if leading else None, form).values())
                rows.append([*about, *text, *trust])
    columns = ["method", "side", "rank", "score", "unit", "row", "label", "source", "prompt"]
    columns += ["response", "traced_response", *verdict_cells(None, form)]
    print_rows(columns, rows, form)
