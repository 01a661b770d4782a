"""What a method costs: the passes that it needs, in seconds of this machine."""

from __future__ import annotations

from wherefrom.data import Renderer
from wherefrom.methods import parse_method
from wherefrom.run import Run
from wherefrom.run._states import merge
from wherefrom.signals import Side


def pass_seconds(run: Run, spec: str) -> float | None:
    """Seconds of the passes that a method alone would need, over training rows and queries.

    From the seconds that a token takes forward and backward, as the run's planner measured them. Draws of
    weights and saved checkpoints come on top of what is counted.

    Returns:
        None where the run's planner did not measure.
    """
    speed = run.card.entries.get("speed")
    if speed is None:
        return None
    recipe = run.config.recipes()[0]
    renderer = Renderer(run.model.tokenizer, recipe)
    tokens = {
        Side.TRAIN: sum(len(row.ids) for row in renderer.render_all(run.train)),
        Side.QUERY: sum(len(row.ids) for row in renderer.render_all(run.queries)),
    }
    tokens[Side.REFERENCE] = tokens[Side.QUERY]
    passes = merge(parse_method(spec).needs, run.states(recipe))
    seconds = 0.0
    for one in passes:
        each = float(speed["forward"]) + one.backwards * float(speed["backward"])
        seconds += tokens[one.side] * each
    return seconds
