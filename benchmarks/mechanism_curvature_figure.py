"""The figure of mechanism 1, from its numbers."""

import matplotlib as mpl
import numpy as np

mpl.use("svg")
import matplotlib.pyplot as plt

COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#9c755f", "#e15759")
RULES = {"nonzero": "λ = tr F/min(n, p), the default", "mean": "λ = 0.1 tr F/p, the paper's"}
STYLE = {"nonzero": ("#4e79a7", "o", "-"), "mean": ("#e15759", "s", "--")}
RANKED = "64×2"


def draw(found, path):
    """Six panels: model size, rank and λ; then the three curvatures."""
    mpl.rcParams.update(
        {
            "svg.hashsalt": "wherefrom",
            "font.size": 9,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "axes.titlesize": 10,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
            "savefig.facecolor": "white",
            "text.color": "black",
        }
    )
    figure, panels = plt.subplots(2, 3, figsize=(13, 9), layout="constrained")
    given = found["given"]
    ladder = [run for run in found["runs"] if run["rank"] == 4] + ([given] if given else [])
    energy_by_size(panels[0, 0], ladder)
    agreement_by_size(panels[0, 1], ladder)
    by_rank(panels[0, 2], [run for run in found["runs"] if run["model"] == RANKED])
    agreement_by_damping(panels[1, 0], ladder)
    fidelity_by_damping(panels[1, 1], given)
    curvatures(panels[1, 2], found["exact"])
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def energy_by_size(panel, ladder):
    panel.set_title("How much lies above λ")
    for rule, (colour, marker, line) in STYLE.items():
        for what, width, alpha in (("query_energy", 1.8, 1.0), ("effective_dimension", 1.0, 0.6)):
            name = "a query's gradient, σ > λ" if what == "query_energy" else "d_λ / n"
            sizes, values = by_size(
                ladder,
                lambda run, rule=rule, what=what: (
                    run[rule]["blocks"][what]
                    / (run["rows"] if what == "effective_dimension" else 1)
                ),
            )
            spread(
                panel,
                sizes,
                values,
                color=colour,
                marker=marker if width > 1 else "x",
                linestyle=line,
                linewidth=width,
                alpha=alpha,
                label=f"{name}; {RULES[rule]}",
            )
    finish(panel, "parameters of the base model", "share", 0, 1.02)
    panel.set_xscale("log")
    legend(panel)


def agreement_by_size(panel, ladder):
    panel.set_title("Influence against Hessian-free, by size")
    for rule, (colour, marker, line) in STYLE.items():
        for against, alpha in (("plain", 1.0), ("weighted", 0.45)):
            sizes, values = by_size(
                ladder, lambda run, r=rule, a=against: run[r]["agreement"][a]["spearman"]
            )
            name = "Σ q·g" if against == "plain" else "Σ q·g/λ_b"
            spread(
                panel,
                sizes,
                values,
                color=colour,
                marker=marker,
                linestyle=line,
                alpha=alpha,
                label=f"against {name}; {RULES[rule]}",
            )
    panel.axhline(1, color="black", linewidth=0.8)
    panel.annotate(
        "the paper's claim", (0.98, 0.985), xycoords="axes fraction", ha="right", va="top"
    )
    finish(panel, "parameters of the base model", "Spearman, mean over queries", 0, 1.08)
    panel.set_xscale("log")
    legend(panel)


def by_rank(panel, runs):
    panel.set_title(f"By LoRA rank ({RANKED})")
    ranks = sorted({run["rank"] for run in runs})
    for rule, (colour, marker, line) in STYLE.items():
        for what, alpha in (("spearman", 1.0), ("energy", 0.45)):
            values = [
                [
                    run[rule]["agreement"]["plain"]["spearman"]
                    if what == "spearman"
                    else run[rule]["blocks"]["query_energy"]
                    for run in runs
                    if run["rank"] == rank
                ]
                for rank in ranks
            ]
            name = "Spearman" if what == "spearman" else "a query's gradient, σ > λ"
            spread(
                panel,
                ranks,
                values,
                color=colour,
                marker=marker,
                linestyle=line,
                alpha=alpha,
                label=f"{name}; {RULES[rule]}",
            )
    panel.set_xscale("log", base=2)
    panel.set_xticks(ranks, [str(rank) for rank in ranks])
    finish(panel, "rank", "share, or Spearman", 0, 1.02)
    legend(panel)


def agreement_by_damping(panel, ladder):
    panel.set_title("Influence against Hessian-free, by λ")
    for colour, model in zip(COLOURS, dict.fromkeys(run["model"] for run in ladder), strict=False):
        curves = [run["nonzero"]["curve"] for run in ladder if run["model"] == model]
        at = curves[0]["multipliers"]
        for what, line, label in (("spearman", "-", model), ("spearman_weighted", ":", None)):
            values = np.mean([curve[what] for curve in curves], 0)
            panel.plot(at, values, color=colour, linestyle=line, label=label, linewidth=1.5)
    mark_rules(panel, ladder)
    finish(panel, "λ / (tr F/min(n, p))", "Spearman", 0, 1.08)
    panel.set_xscale("log")
    legend(panel, 3, "solid: against Σ q·g; dotted: against Σ q·g/λ_b")


def fidelity_by_damping(panel, given):
    if given is None:
        panel.set_axis_off()
        return
    panel.set_title(f"{given['model']}: what λ does, and what it is worth")
    curve = given["nonzero"]["curve"]
    at = curve["multipliers"]
    panel.plot(at, curve["dimension"], color=COLOURS[0], label="d_λ / n")
    panel.plot(at, curve["query_energy"], color=COLOURS[2], label="a query's gradient, σ > λ")
    if "lds" in given:
        panel.plot(at, given["lds"], color="black", linewidth=2.2, label="LDS (retraining)")
        panel.axhline(
            given["lds plain"], color="black", linestyle=":", label="LDS without the Hessian"
        )
    mark_rules(panel, [given])
    finish(panel, "λ / (tr F/min(n, p))", "share, or LDS", 0, 1.08)
    panel.set_xscale("log")
    legend(panel)


def mark_rules(panel, runs):
    panel.axvline(1, color=STYLE["nonzero"][0], linewidth=0.8, linestyle="--")
    paper = [
        0.1 * min(run["rows"], size) / size for run in runs for size in run["entries of a block"]
    ]
    panel.axvspan(
        min(paper) / 1.1, max(paper) * 1.1, color=STYLE["mean"][0], alpha=0.12, linewidth=0
    )
    panel.annotate(
        "paper's λ", (max(paper) * 1.05, 1.0), fontsize=7, color=STYLE["mean"][0], ha="right"
    )


def curvatures(panel, exact):
    panel.set_title("Three curvatures (λ = Σ|σ|/min(n, p))")
    whole = [one for one in exact if "nonzero, block" in one]
    whole.sort(key=lambda one: one["trained"])
    pairs = (
        ("gauss-newton", "empirical", "Gauss–Newton and empirical Fisher"),
        ("gauss-newton", "hessian", "Gauss–Newton and Hessian"),
        ("hessian", "empirical", "Hessian and empirical Fisher"),
        ("hessian", "hessian-free", "Hessian and Hessian-free"),
        ("gauss-newton", "hessian-free", "Gauss–Newton and Hessian-free"),
        ("empirical", "hessian-free", "empirical Fisher and Hessian-free"),
    )
    places = np.arange(len(whole))
    width = 0.8 / len(pairs)
    for index, (first, second, name) in enumerate(pairs):
        values = [one["nonzero, block"]["spearman"][first][second] for one in whole]
        panel.bar(places + (index - 2.5) * width, values, width, color=COLOURS[index], label=name)
    labels = [f"{one['model']}\nr = {one['rank']}\np = {one['trained']}" for one in whole]
    panel.set_xticks(places, labels, fontsize=7)
    panel.grid(axis="x", visible=False)
    finish(panel, "", "Spearman, mean over queries", None, 1.0)
    panel.axhline(0, color="black", linewidth=0.8)
    legend(panel, 2)


def legend(panel, columns=1, title=None):
    panel.legend(
        fontsize=7.5,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        ncols=columns,
        title=title,
        title_fontsize=7.5,
        frameon=False,
    )


def by_size(ladder, value):
    sizes = sorted({run["parameters"] for run in ladder})
    return sizes, [[value(run) for run in ladder if run["parameters"] == size] for size in sizes]


def spread(panel, at, values, **look):
    """Means over seeds as a line, each seed as a faint mark."""
    panel.plot(at, [np.mean(one) for one in values], **look)
    for place, ones in zip(at, values, strict=True):
        if len(ones) > 1:
            panel.plot([place] * len(ones), ones, ".", color=look["color"], alpha=0.3, markersize=3)


def finish(panel, x, y, low, high):
    panel.set_xlabel(x)
    panel.set_ylabel(y)
    panel.set_ylim(low, high)
