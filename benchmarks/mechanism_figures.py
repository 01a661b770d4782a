"""Figures of mechanism_steps.py: the same bytes from the same numbers."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from mechanism_tables import HALF, at

STYLE = {
    "svg.hashsalt": "wherefrom",
    "font.size": 8,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def draw_convergence(found, path):
    """Mechanism 2: rankings, accuracy and the full gradient along training, and other seeds.

    Dashed: trained hard.
    """
    models = _by_size([one for one in found if "convergence" in one["checks"]])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 5.6), layout="constrained")
        axes = figure.subplots(2, 3)
        for one, colour in _coloured(models):
            held = one["checks"]["convergence"]["values"]
            x, line = _share(held["steps"]), "o--" if _hard(one) else "o-"
            lead = held["methods"]["influence"]
            # at the base LoRA's A has no gradient: another kind of answer, drawn apart
            curves = (lead["spearman"], lead["overlap"], lead["accuracy"], held["coherence"])
            for axis, values in zip(axes.flat[:4], curves, strict=True):
                axis.plot(x[1:], _numbers(values)[1:], line, color=colour, label=_name(one))
                axis.plot(x[:1], _numbers(values)[:1], "x", color=colour)
            axes.flat[4].plot(x[2:], _numbers(held["degrees_to_previous"])[2:], line, color=colour)
        held = models[0]["checks"]["convergence"]["values"]
        titles = (
            "rank correlation with the final answers",
            f"top-{held['k']} rows shared with the final answers",
            "top row has the query's label",
            "full gradient / a row's (dotted: unrelated rows)",
            "degrees to the full gradient before",
        )
        for axis, title in zip(axes.flat, titles, strict=False):
            axis.set_title(title)
            axis.set_xlabel("share of training")
        axes.flat[2].set_ylim(0, 1.05)
        axes.flat[3].axhline(held["unrelated_coherence"], color="grey", linestyle=":", linewidth=1)
        axes.flat[4].axhline(90, color="grey", linestyle=":", linewidth=1)
        _seeds(axes.flat[5], models)
        figure.legend(
            *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=6
        )
        figure.savefig(path, metadata={"Date": None})


def _seeds(axis, models):
    for place, (one, colour) in enumerate(_coloured(models)):
        shared = _numbers(one["checks"]["seeds"]["values"]["overlap"])
        axis.plot([place] * len(shared), shared, "o", color=colour)
        values = one["checks"]["convergence"]["values"]
        half = at(values["steps"], HALF)
        axis.plot(place, values["methods"]["influence"]["overlap"][half], "_", color=colour, ms=12)
    axis.set_xticks(range(len(models)), [_name(one) for one in models], rotation=60)
    axis.set_ylim(0, 1.05)
    axis.set_title("top rows shared: ● other seeds, — half-way")


def draw_behaviour(found, path):
    """Mechanism 3: weights, KL, log-probability and behaviour along training, and where ΔW lies."""
    found = [one for one in found if not _hard(one)]
    tasks = sorted({one["task"] for one in found}, key=lambda task: (task != "emotion", task))
    rows = {
        "norm": "‖ΔW‖ / final",
        "kl": "KL to the base, nats a token",
        "log_probability": "queries' log-probability",
        "behaviour": "share that behaves as taught",
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.5, 11), layout="constrained")
        axes = figure.subplots(len(rows) + 1, len(tasks))
        for column, task in enumerate(tasks):
            models = _by_size([one for one in found if one["task"] == task])
            for one, colour in _coloured(models):
                held = one["checks"]["behaviour"]["values"]
                x = _share(held["steps"])
                for row, name in enumerate(rows):
                    values = _numbers(held[name])
                    values = values / values[-1] if name == "norm" else values
                    axes[row, column].plot(x, values, "o-", color=colour, label=one["model"])
            axes[0, column].set_title(task)
            axes[3, column].set_ylim(-0.05, 1.05)
            axes[3, column].set_xlabel("share of training")
            _layers(axes[4, column], models[-1])
        for row, title in enumerate(rows.values()):
            axes[row, 0].set_ylabel(title)
        axes[4, 0].set_ylabel("‖ΔW‖ of a layer, by stage")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=9)
        figure.savefig(path, metadata={"Date": None})


def _layers(axis, one):
    """‖ΔW‖ of every layer of the largest model at each stage, and how many directions ΔW has."""
    held = one["checks"]["behaviour"]["values"]
    layers = [name for name in held["norm_by_layer"] if name.isdigit()]
    table = np.array([_numbers(held["norm_by_layer"][name]) for name in layers])
    shades = np.linspace(0.2, 1.0, table.shape[1])
    for stage in range(1, table.shape[1]):
        axis.plot(range(len(layers)), table[:, stage], color="black", alpha=shades[stage])
    ranks = [s["effective_rank"] for s in held["singular_values"].values() if s["effective_rank"]]
    axis.set_title(f"{one['model']}: effective rank of ΔW {np.mean(ranks):.1f}")
    axis.set_xlabel("layer")
    axis.xaxis.get_major_locator().set_params(integer=True)


def _coloured(models):
    names = list(dict.fromkeys(one["model"] for one in models))
    shades = matplotlib.colormaps["viridis"](np.linspace(0.9, 0.0, len(names)))
    return [(one, tuple(shades[names.index(one["model"])])) for one in models]


def _by_size(found):
    return sorted(found, key=lambda one: (_hard(one), one["parameters"]))


def _hard(one):
    return one["task"].endswith("-hard")


def _name(one):
    return one["model"] + (" hard" if _hard(one) else "")


def _share(steps):
    steps = _numbers(steps)
    return steps / steps[-1]


def _numbers(values):
    return np.array([np.nan if value is None else value for value in values], dtype=float)
