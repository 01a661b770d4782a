"""The scores of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherefrom.atomic import file_name
from wherefrom.errors import SettingError
from wherefrom.identity import digest_value
from wherefrom.methods import score_all
from wherefrom.run._rows import rows_digest
from wherefrom.scores import Scores, read_scores, write_scores

if TYPE_CHECKING:
    from wherefrom.run._run import Run


def score_run(run: Run) -> dict[tuple[str, str], Scores]:
    """Scores of every method and recipe, by both; computed unless they are there already.

    Raises:
        SettingError: the run has no queries.
    """
    if not run.queries:
        raise SettingError(f"{run.path}: no queries to score. Give --queries, or use trace.")
    found = {}
    for recipe in run.config.recipes():
        methods = run.methods(recipe)
        evidence = run.evidence(recipe, methods)
        inputs = {
            "signals": {
                f"{point.name} {side.value}": source.identity
                for point in evidence.points()
                for side, source in point.sources.items()
            },
            "rows": [rows_digest(run.train), rows_digest(run.queries)],
            "recipe": [recipe.damping_rule, recipe.damping],
            "methods": [m.spec for m in methods],
        }
        key = f"scores {recipe.name}"
        folder = run.path / "scores" / recipe.name
        files = {m.spec: folder / f"{file_name(m.spec)}.parquet" for m in methods}
        done = run.card.entries.get(key, {}).get("made from") == digest_value(inputs)
        if not (done and all(path.is_file() for path in files.values())):
            with run.card.timed(f"score ({recipe.name})"):
                scored = score_all(methods, evidence)
            for scores in scored.scores:
                write_scores(scores, files[scores.method])
            seconds = {name: round(value, 4) for name, value in scored.seconds.items()}
            run.card.set(key, {"made from": digest_value(inputs), "seconds": seconds})
        for spec, path in files.items():
            found[recipe.name, spec] = read_scores(path)
    return found
