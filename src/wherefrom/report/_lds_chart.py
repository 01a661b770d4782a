"""The chart of the linear datamodeling score where rows carry no labels to match."""

from __future__ import annotations

from wherefrom.report._chart import LEFT, MOST, RIGHT, TOP, WIDTH, Chart, Line, Mark
from wherefrom.report._names import short
from wherefrom.report._numbers import correlation
from wherefrom.report._retraining import Retraining
from wherefrom.report._scale import Scale

STEP = 18


def lds_chart(retraining: Retraining) -> Chart | None:
    """A dot and an interval for each method, best on top; None where no LDS is known."""
    drawn = retraining.foretellings[:MOST]
    if not drawn:
        return None
    ceiling = retraining.known_ceiling
    ends = [end for one in drawn for end in (one.value, one.low, one.high)]
    scale = Scale.around([*ends, 0.0, 0.0 if ceiling is None else ceiling], LEFT, WIDTH - RIGHT)
    lines = []
    for index, one in enumerate(drawn):
        y, x = TOP + STEP * (index + 0.5), scale.place(one.value)
        low, high = (scale.place(one.low), scale.place(one.high)) if one.has_interval else (x, x)
        name, value = short(one.method, 30), correlation(one.value)
        lines.append(Line(name, value, y, (Mark(x, y, low, high, 0),)))
    first, last = lines[0], lines[-1]
    return Chart(
        metric="Linear datamodeling score (LDS)",
        alt=(
            f"Dot chart of the linear datamodeling score, {len(lines)} methods from best to worst: "
            f"from {first.name} with {first.value} down to {last.name} with {last.value}. The "
            "tables have every number."
        ),
        width=WIDTH,
        height=TOP + STEP * len(lines) + 28,
        left=LEFT,
        right=WIDTH - RIGHT,
        top=TOP,
        recipes=(short(retraining.recipe, 30),),
        lines=tuple(lines),
        ticks=tuple((scale.place(t), f"{t:g}".replace("-", "−")) for t in scale.ticks()),
        guides=(
            (scale.place(0.0), ""),
            *(((scale.place(ceiling), "noise ceiling"),) if ceiling is not None else ()),
        ),
        left_out=len(retraining.foretellings) - len(drawn),
    )
