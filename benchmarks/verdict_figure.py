"""The figure of the verdict's page: calibration, and every trace's chance beside its label."""

import matplotlib as mpl
import numpy as np

mpl.use("svg")
import matplotlib.pyplot as plt


def draw(sets, high, low, path, bins=8):
    """One panel a set of traces.

    Args:
        sets: by name, traces with `chance` and `supported`.
        high: chance from which an answer is called supported.
        low: chance up to which it is called not supported.
        path: the SVG file.
        bins: groups of equally many traces.
    """
    mpl.rcParams.update({"svg.hashsalt": "wherefrom", "font.size": 9, "svg.fonttype": "none"})
    figure, panels = plt.subplots(1, len(sets), figsize=(4 * len(sets), 3.8), squeeze=False)
    rng = np.random.default_rng(0)
    for axis, (name, traces) in zip(panels[0], sets.items(), strict=True):
        chance = traces["chance"].to_numpy()
        truth = traces["supported"].to_numpy().astype(float)
        jitter = rng.uniform(-0.03, 0.03, len(truth))
        axis.axvspan(0, low, color="#d98c5f", alpha=0.12, lw=0)
        axis.axvspan(high, 1, color="#4477aa", alpha=0.12, lw=0)
        axis.plot([0, 1], [0, 1], color="#999999", lw=1)
        axis.scatter(chance, truth * 1.0 + jitter, s=5, color="#333333", alpha=0.35, lw=0)
        parts = np.array_split(
            np.argsort(chance, kind="stable"), min(bins, max(2, len(truth) // 8))
        )
        x = [chance[part].mean() for part in parts]
        y = [truth[part].mean() for part in parts]
        spread = [
            1.96 * np.sqrt(max(m * (1 - m), 0.01) / len(p)) for m, p in zip(y, parts, strict=True)
        ]
        axis.errorbar(x, y, spread, color="#4477aa", marker="o", ms=5, lw=1.5, capsize=2)
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.06, 1.06), xlabel="chance the verdict gives")
        axis.set_title(f"{name}\n{len(truth)} traces, {truth.mean():.0%} supported", fontsize=9)
    panels[0][0].set_ylabel("share that retraining bears out")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
