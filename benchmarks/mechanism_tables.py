"""Tables of mechanism_steps.py, as the pages have them."""

import numpy as np

HALF = 0.5


def convergence_table(found):
    """Mechanism 2, one line a model: the end of training against its half, and against other seeds."""
    lines = [
        "| model | training | weights | half of training: rank correlation, top rows shared "
        "| other seeds: the same "
        "| label of the top row: base, half, end | full / row gradient: half, end (unrelated rows) "
        "| degrees between successive full gradients |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in sorted(found, key=lambda one: (one["task"], one["parameters"])):
        if "convergence" not in one["checks"]:
            continue
        held = one["checks"]["convergence"]["values"]
        seeds = one["checks"]["seeds"]["values"]
        lead, half = held["methods"]["influence"], at(held["steps"], HALF)
        turned = [value for value in held["degrees_to_previous"] if value is not None]
        training = "hard" if one["task"].endswith("-hard") else "gentle"
        lines.append(
            f"| {one['model']} | {training} | {_millions(one)} "
            f"| {lead['spearman'][half]:.2f}, {lead['overlap'][half]:.0%} "
            f"| {np.mean(seeds['spearman']):.2f}, {np.mean(seeds['overlap']):.0%} "
            f"| {lead['accuracy'][0]:.0%}, {lead['accuracy'][half]:.0%}, {lead['accuracy'][-1]:.0%} "
            f"| {held['coherence'][half]:.2f}, {held['coherence'][-1]:.2f} "
            f"({held['unrelated_coherence']:.2f}) "
            f"| {min(turned):.0f}–{max(turned):.0f} |"
        )
    return "\n".join(lines)


def behaviour_table(found):
    """Mechanism 3, one line a task and model: what grew, and how it went with ‖ΔW‖."""
    lines = [
        "| task | model | ‖ΔW‖, first checkpoint to end | KL, the same | behaviour: base, first, end "
        "| log-probability: base, best, end | Spearman of ‖ΔW‖ with behaviour, KL "
        "| largest gap between the shares of the way |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in sorted(found, key=lambda one: (one["task"], one["parameters"])):
        held = one["checks"]["behaviour"]["values"]
        related, share, log_p = held["relations"], held["behaviour"], held["log_probability"]
        lines.append(
            f"| {one['task']} | {one['model']} | ×{related['norm_growth']:.1f} "
            f"| {held['kl'][1]:.2g} → {held['kl'][-1]:.2g} (×{related['kl']['growth']:.1f}) "
            f"| {share[0]:.0%}, {share[1]:.0%}, {share[-1]:.0%} "
            f"| {log_p[0]:.2f}, {max(log_p):.2f}, {log_p[-1]:.2f} "
            f"| {_or_none(related['behaviour']['spearman'])}, {_or_none(related['kl']['spearman'])} "
            f"| {_or_none(related['largest_gap'])} |"
        )
    return "\n".join(lines)


def at(steps, share):
    """Number of the stage that lies nearest to a share of training."""
    return int(np.argmin(np.abs(np.array(steps) / steps[-1] - share)))


def _millions(one):
    return f"{one['parameters'] / 1e6:.3g} M"


def _or_none(value):
    return "–" if value is None else f"{value:.2f}"
