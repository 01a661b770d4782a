"""Figures of the study: the same bytes from the same results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Place = Literal["lower right", "upper right", "upper left"]

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "wherefrom",
    "svg.fonttype": "none",
    "font.size": 8,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
COLOURS = {
    "influence": "#4477aa",
    "gradient": "#228833",
    "forward": "#ccbb44",
    "representation": "#ee6677",
    "contrast": "#aa3377",
    "text": "#66ccee",
    "bayesian": "#997700",
    "class": "#333333",
    "baseline": "#999999",
}
LINES = {
    "ekfac": "#4477aa",
    "influence(curvature=true)": "#ee6677",
    "influence": "#228833",
    "gradient_dot": "#ccbb44",
    "gradient_cosine": "#aa3377",
}
MANY = (
    *("#cc3311", "#4477aa", "#228833", "#aa3377", "#ee7733"),
    *("#009988", "#ccbb44", "#997700", "#66ccee", "#777777", "#332288"),
)
"""For figures with a line a method."""
LEVELS = {
    "sound-1": "response",
    "sound-1(mask=prompt+response)": "prompt + response",
    "paper-1": "pads + prompt + response",
    "none": "none",
    "fisher": "empirical Fisher",
    "true": "true Fisher",
    "datainf": "DataInf",
    "paper": "paper's λ",
    "last1": "last layer",
}
FACTORS = ("mask", "normalise", "curvature", "damping", "layers")


def draw_all(found: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Draws every figure whose cells are there.

    Returns:
        By name, the SVG files.
    """
    drawn = {}
    for name, draw in FIGURES.items():
        with mpl.rc_context(STYLE):
            figure = draw(found)
            if figure is not None:
                drawn[name] = folder / f"study-{name}.svg"
                figure.savefig(drawn[name], metadata={"Date": None})
    return drawn


def draw_truth(found: dict[str, Any]) -> Figure | None:
    """Claim: what foretells retraining, on tasks and seeds that nothing was chosen on."""
    choice = found["choice"]
    if not choice:
        return None
    lines = [(name, judged) for name, _, judged in choice["ranked"]]
    lines.append(("(class)", choice["oracle"]))
    lines.sort(key=lambda line: line[1][0])
    figure = Figure(figsize=(7, 0.17 * len(lines) + 0.9), layout="constrained")
    axis = figure.subplots()
    for y, (name, (value, low, high)) in enumerate(lines):
        colour = COLOURS[found["grid"]["methods"][name]["family"]]
        axis.plot([low, high], [y, y], color=colour, lw=1.6, alpha=0.55)
        axis.plot(value, y, "o", color=colour, ms=4)
    axis.set_yticks(range(len(lines)), [name for name, _ in lines])
    for label in axis.get_yticklabels():
        if label.get_text() == found["default"]:
            label.set_fontweight("bold")
    axis.set_ylim(-0.7, len(lines) - 0.3)
    axis.axvline(0, color="#999999", lw=0.8)
    axis.set_xlabel("linear datamodeling score (1 = retraining foretold exactly)")
    _legend(axis, {found["grid"]["methods"][name]["family"] for name, _ in lines})
    return figure


def draw_along(found: dict[str, Any]) -> Figure | None:
    """Claim: what a run's states foretell, and that the last is not the best of them."""
    ways = found["along"]
    if not ways:
        return None
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(ways), sharey=True))
    for axis, (way, held) in zip(axes, ways.items(), strict=True):
        for name, values in held["curves"].items():
            at = np.linspace(0, 1, len(values))
            axis.plot(at, values, lw=1.4, label=name, color=LINES[name])
            middle = held["sums"][name]["middle"][0]
            axis.plot(1.04, middle, "D", ms=4, color=LINES[name], clip_on=False)
        axis.axhline(0, color="#999999", lw=0.8)
        axis.set_title(f"{way} ({len(held['tasks'])} tasks)")
        axis.set_xlabel("share of the run's learning rate spent")
    axes[0].set_ylabel("LDS (1 = retraining foretold exactly)")
    axes[0].legend(fontsize=7, loc="lower left", title="one state; ◆ three along the run")
    return figure


def draw_retrieval(found: dict[str, Any]) -> Figure | None:
    """Claim: class match and truth do not agree; and what the base model already knows."""
    if not found["grid"]:
        return None
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    methods = found["grid"]["methods"]
    for line in methods.values():
        left.plot(line["ap"][0], line["all"][0], "o", color=COLOURS[line["family"]], ms=4)
    _annotate(left, {name: (line["ap"][0], line["all"][0]) for name, line in methods.items()})
    left.set(xlabel="class match (average precision)", ylabel="LDS (retraining)")
    left.set_title("What class match praises, and what retraining bears out")
    _legend(left, {line["family"] for line in methods.values()}, "upper right")
    base = found["retrieval"]["base"]
    for y, (name, line) in enumerate(reversed(base.items())):
        colour = COLOURS[methods[name]["family"]]
        for metric, marker in (("lds", "o"), ("ap", "s")):
            one = line[metric]
            shift = 0.14 if metric == "lds" else -0.14
            right.plot([one["base"][0], one["tuned"][0]], [y + shift] * 2, color=colour, lw=1.2)
            right.plot(one["base"][0], y + shift, marker, mfc="white", color=colour, ms=4)
            right.plot(one["tuned"][0], y + shift, marker, color=colour, ms=4)
    right.set_yticks(range(len(base)), list(reversed(base)))
    right.set_title("hollow: base model; ○ LDS, □ class match")
    return figure


def draw_ablation(found: dict[str, Any]) -> Figure | None:
    """Claim: which choice costs how much."""
    held = found["ablation"]
    if not held:
        return None
    figure = Figure(figsize=(9.5, 5.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, metric, title in zip(
        axes, ("lds", "ap"), ("retraining (LDS)", "class match (average precision)"), strict=True
    ):
        y, ticks, names = 0.0, [], []
        for factor in FACTORS:
            for level, (value, low, high) in held[metric]["levels"][factor].items():
                axis.plot([low, high], [y, y], color="#4477aa", lw=1.6, alpha=0.45)
                axis.plot(value, y, "o", color="#4477aa", ms=4)
                ticks.append(y)
                names.append(f"{factor}: {LEVELS.get(level, level)}")
                y -= 1
            y -= 0.6
        axis.set_yticks(ticks, names)
        axis.set_title(title)
        axis.set_xlabel("mean over all combinations with this level")
    return figure


def draw_scale(found: dict[str, Any]) -> Figure | None:
    """Claim: what becomes of it as the model grows, and by what is trained."""
    if not found["ladder"]:
        return None
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes, kinds = found["ladder"], list(found["adapters"].values())
    _followed(left, [one["parameters"] for one in sizes], sizes)
    left.set(xscale="log", xlabel="parameters", ylabel="LDS", title="By size of the model")
    left.minorticks_off()
    left.set_xticks(
        [one["parameters"] for one in sizes],
        [f"{one['parameters'] / 1e6:.2g}M" for one in sizes],
    )
    if kinds:
        _followed(right, list(range(len(kinds))), kinds)
        right.set_xticks(range(len(kinds)), list(found["adapters"]))
        right.set_title("By what is trained")
    return figure


def _followed(axis: Axes, xs: Sequence[float], steps: Sequence[dict[str, Any]]) -> None:
    """A line for every method, named at its end, and a dotted one for the ceiling."""
    lines = {"ceiling": [one["ceiling"] for one in steps]} | {
        name: [one["methods"].get(name, [np.nan])[0] for one in steps]
        for name in steps[0]["methods"]
    }
    ends = sorted((values[-1], name) for name, values in lines.items() if np.isfinite(values[-1]))
    gap = 0.045 * (max(map(np.nanmax, lines.values())) - min(map(np.nanmin, lines.values())))
    lowest = -np.inf
    for end, name in ends:
        colour = "#000000" if name == "ceiling" else MANY[list(lines).index(name) % len(MANY)]
        style = "o:" if name == "ceiling" else "o-"
        axis.plot(xs, lines[name], style, ms=3, lw=1.2, color=colour)
        # names that would lie on each other move up
        lowest = max(end, lowest + gap)
        axis.annotate(
            name,
            (xs[-1], end),
            (1.03, lowest),
            textcoords=axis.get_yaxis_transform(),
            fontsize=7,
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4, "alpha": 0.6},
        )


def draw_cost(found: dict[str, Any]) -> Figure | None:
    """Claim: what quality costs on the embedded model."""
    costs: dict[str, list[float]] = {}
    for run in found["large"].values():
        for name, line in run["methods"].items():
            if line["cost"] is not None and line["scoring"] is not None:
                costs.setdefault(name, []).append(line["cost"] + line["scoring"])
    if not costs or not found["grid"]:
        return None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axis = figure.subplots()
    points = {
        name: (max(float(np.mean(values)), 0.01), found["grid"]["methods"][name]["all"][0])
        for name, values in costs.items()
        if name in found["grid"]["methods"]
    }
    for name, (x, y) in points.items():
        axis.plot(x, y, "o", color=COLOURS[found["grid"]["methods"][name]["family"]], ms=4)
    front, best = [], -np.inf
    for name, (_, y) in sorted(points.items(), key=lambda point: (point[1][0], -point[1][1])):
        if y > best:
            front.append(name)
            best = y
    axis.step(
        [points[n][0] for n in front],
        [points[n][1] for n in front],
        where="post",
        color="#999999",
        lw=1,
    )
    axis.set_xscale("log")
    _annotate(axis, {name: points[name] for name in front})
    axis.set(
        xlabel="seconds on SmolLM2-135M: passes and scoring",
        ylabel="LDS on the small models",
    )
    _legend(axis, {found["grid"]["methods"][name]["family"] for name in points}, "upper left")
    return figure


FIGURES: dict[str, Callable[[dict[str, Any]], Figure | None]] = {
    "truth": draw_truth,
    "along": draw_along,
    "retrieval": draw_retrieval,
    "ablation": draw_ablation,
    "scale": draw_scale,
    "cost": draw_cost,
}


def _legend(axis: Axes, families: set[str], place: Place = "lower right") -> None:
    for name, colour in COLOURS.items():
        if name in families:
            axis.plot([], [], "o", color=colour, ms=4, label=name)
    axis.legend(fontsize=7, loc=place, framealpha=0.9)


def _annotate(axis: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Names beside points, those that would lie on another name left out."""
    taken: list[tuple[float, float]] = []
    far: Callable[[Any], Any] = np.log10 if axis.get_xscale() == "log" else np.asarray
    xs = far(np.array([x for x, _ in points.values()]))
    wide = (xs.max() - xs.min()) or 1.0
    for name, (x, y) in sorted(points.items(), key=lambda point: -point[1][1]):
        if all(abs(y - b) > 0.028 or abs(far(x) - far(a)) > 0.2 * wide for a, b in taken):
            axis.annotate(name, (x, y), fontsize=6, xytext=(4, -2), textcoords="offset points")
            taken.append((x, y))
