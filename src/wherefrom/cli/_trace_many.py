"""`wherefrom trace --queries`: many questions at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherefrom.atomic import file_name
from wherefrom.cli._options import Format
from wherefrom.cli._print import print_rows
from wherefrom.data import read_examples
from wherefrom.progress import say
from wherefrom.safetext import one_line
from wherefrom.scores import write_top

if TYPE_CHECKING:
    from wherefrom.run import Run


def trace_many(
    run: Run, queries: str, specs: Sequence[str], k: int, out: Path | None, form: Format
) -> None:
    """Scores the rows of a file; prints the ends of every query's ranking, or writes them."""
    asked = read_examples(queries, run.config.shape)
    found = run.top(k, specs, asked)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for one in found:
            path = out / f"{file_name(one.method)}.parquet"
            write_top(one, path)
            say(f"{one.method}: {path}")
        return
    by_id = {row.id: row for row in run.train}
    lines = []
    for one in found:
        for line in one.to_pandas().to_dict("records"):
            row = by_id[str(line["train"])]
            about = [one.method, line["query"], line["end"], line["rank"], line["score"], one.unit]
            text = [row.id, row.label, row.source, row.prompt, row.response]
            if form is Format.table:
                text[-2:] = [one_line(row.prompt, 50), one_line(row.response, 30)]
            lines.append([*about, *text])
    columns = ["method", "query", "end", "rank", "score", "unit", "row", "label", "source"]
    print_rows([*columns, "prompt", "response"], lines, form)
