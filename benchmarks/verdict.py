"""The verdict's rules: fitted on labelled traces, tested on tasks and runs that they were not fitted on.

Reads what `verdict_labels.py` left (whether retraining without a trace's top rows bears it out), computes
the features that `wherefrom check` may tell its verdict from, and fits a logistic rule on one of them: of
states along the run, and of its end for adapters that left no others. Tested leaving one task out at a
time, one task and way of training at a time, on a way of training that was kept for the test, and on a
larger model; against every single feature (paired bootstrap over the queries of runs). `--write` puts the
rules into the package; `--page` writes traces and figure.

    OMP_NUM_THREADS=1 python benchmarks/verdict.py --labels DIR [--run RUN …] [--write] [--page DIR]
"""

import argparse
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from verdict_figure import draw

from wherefrom.counterfactual import Ending
from wherefrom.diagnose import FEATURES, LEXICAL, Answers, features, spot_checks
from wherefrom.diagnose._verdict import FILE
from wherefrom.run import CheckPlan, Run
from wherefrom.run._ask import ask_queries
from wherefrom.run._check import bare_subject, whole_subject

ALONG, AT_END = "predicted_along", "predicted_at_end"
RULES = (ALONG, AT_END)
KEPT = "plain"
"""The way of training that is not fitted on."""
STRENGTH = 0.1
RIGHT = {"supported": 0.8, "not supported": 0.9}
"""Share of the traces called so that should be, on tasks left out."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--run", type=Path, action="append", default=[])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--page", type=Path)
    chosen = parser.parse_args()
    traces = every_trace(chosen.labels, chosen.run)
    way = traces["run"].str.rpartition("-")[2]
    large = traces["run"].isin([path.name for path in chosen.run])
    fitting = traces[~large & (way != KEPT)].reset_index(drop=True)
    kept = traces[~large & (way == KEPT)].reset_index(drop=True)
    large = traces[large].reset_index(drop=True)

    fitting["way"] = fitting["run"].str.rpartition("-")[2]
    both = left_out_both(fitting)
    limits = {}
    for rule in RULES:
        fitting[f"chance {rule}"] = left_out(fitting, fitting["task"], [rule])
        chance = fitting[f"chance {rule}"].to_numpy()
        limits[rule] = thresholds(fitting["supported"].to_numpy(), chance)
    if chosen.write:
        write(fitting, limits)
    fitting["chance"] = fitting[f"chance {ALONG}"]
    tell("tasks left out", fitting, fitting["chance"].to_numpy(), limits[ALONG])
    tell("task and way left out", fitting, both, limits[ALONG])
    for part in ("smooth", "rough", "short", "taught"):
        here = fitting[fitting["way"] == part].reset_index(drop=True)
        name = f"tasks left out, {part}"
        tell(name, here, here["chance"].to_numpy(), limits[ALONG], singles=False)
    for name, more in (
        ("the spot check", ["spot"]),
        ("all others", [n for n in FEATURES if n != ALONG]),
    ):
        wider = left_out(fitting, fitting["task"], [ALONG, *more])
        tell(f"tasks left out, with {name}", fitting, wider, limits[ALONG], singles=False)
    ended = fitting[f"chance {AT_END}"].to_numpy()
    tell("tasks left out, the end alone", fitting, ended, limits[AT_END], singles=False)
    sets = {"tasks left out": fitting}
    for name, part in (("kept way of training", kept), ("SmolLM2-135M", large)):
        if len(part):
            part["chance"] = chances(fitted(fitting, [ALONG]), part)
            tell(name, part, part["chance"].to_numpy(), limits[ALONG])
            ended = chances(fitted(fitting, [AT_END]), part)
            tell(f"{name}, the end alone", part, ended, limits[AT_END], singles=False)
            sets[name] = part
    by_group(fitting)
    if chosen.page:
        columns = ["run", "task", "query", "method", "k", "drop", "supported", "chance", *FEATURES]
        whole = pd.concat([part.assign(set=name) for name, part in sets.items()])
        whole[["set", *columns]].round(4).to_csv(chosen.page / "trust-traces.csv", index=False)
        draw(sets, *limits[ALONG], chosen.page / "trust.svg")


def every_trace(labels, runs):
    """One line for each trace: its label and its features."""
    found = []
    for path in sorted((labels / "runs").iterdir()) + runs:
        label = labels / f"{path.name}.parquet"
        if label.is_file():
            found.append(traces_of(Run.open(path), pd.read_parquet(label), labels / "features"))
    return pd.concat(found, ignore_index=True)


def traces_of(run, labels, kept):
    """Labels and features of a run's traces; features that were computed are not computed again."""
    path = kept / f"{run.path.name}.parquet"
    if path.is_file():
        frame = pd.read_parquet(path)
    else:
        frame = pd.DataFrame(computed(run, labels))
        kept.mkdir(exist_ok=True)
        frame.to_parquet(path)
    truth = labels.groupby(["method", "query"], as_index=False).agg(
        task=("task", "first"),
        run=("run", "first"),
        k=("k", "first"),
        drop=("drop", "mean"),
        supported=("supported", "first"),
    )
    return truth.merge(frame, on=["method", "query"])


def computed(run, labels):
    """The features of a run's traces."""
    k = int(labels["k"].iloc[0])
    wanted = set(labels["query"])
    queries = [query for query in run.queries if query.id in wanted]
    plan = CheckPlan(k=k, queries=None, randomised=False)
    recipe = run.config.recipes()[0]
    subject = whole_subject(run, recipe, plan, bare_subject(run, recipe, plan))
    asked = ask_queries(run, queries, "log_probability", [run.config.finetune.seed])
    ending = Ending.saved(run.trajectory)
    known = {one.method: one for (_, _), one in run.score().items()}
    lines = []
    for method in labels["method"].unique():
        here = replace(subject, method=method, known=known)
        lexical = [here.scores(spec) for spec in LEXICAL]
        spots = spot_checks(asked, here.scores(method), lexical, ending, k)
        by_id = {query.id: spot for query, spot in zip(queries, spots, strict=True)}
        for query, found in zip(run.queries, features(Answers(here, by_id)), strict=True):
            if query.id in by_id:
                lines.append({"method": method, "query": query.id, **found})
    return lines


def standard(values, mean, scale):
    return ((values - mean) / scale).clip(-3, 3).fillna(0)


def fitted(traces, names):
    """Means, scales and a logistic model; unknown features stand at their mean."""
    values = traces[list(names)].astype(float)
    mean, scale = values.mean(), values.std().replace(0, 1)
    model = LogisticRegression(C=STRENGTH, max_iter=1000)
    return mean, scale, model.fit(standard(values, mean, scale), traces["supported"])


def chances(rule, traces):
    mean, scale, model = rule
    return model.predict_proba(standard(traces[list(mean.index)].astype(float), mean, scale))[:, 1]


def left_out(traces, groups, names):
    """Chances of every trace under the rule that was fitted on the other groups."""
    found = np.zeros(len(traces))
    for group in groups.unique():
        here = (groups == group).to_numpy()
        found[here] = chances(fitted(traces[~here], names), traces[here])
    return found


def left_out_both(traces):
    """Chances of every trace under the rule fitted on other tasks in other ways of training."""
    found = np.zeros(len(traces))
    for (task, way), part in traces.groupby(["task", "way"]):
        rule = fitted(traces[(traces["task"] != task) & (traces["way"] != way)], [ALONG])
        found[part.index] = chances(rule, part)
    return found


def thresholds(truth, chance):
    """From and up to which chance a call is right as often as `RIGHT` says."""
    grid = np.arange(0.5, 0.96, 0.01)
    share, other = RIGHT["supported"], RIGHT["not supported"]
    high = next((t for t in grid if truth[chance >= t].mean() >= share), grid[-1])
    low = next((1 - t for t in grid if 1 - truth[chance <= 1 - t].mean() >= other), 1 - grid[-1])
    return round(float(high), 2), round(float(low), 2)


def tell(name, traces, chance, limits, *, singles=True):
    """AUROC of the rule and of single features, with intervals, and how often each word is right."""
    truth = traces["supported"].to_numpy()
    drawn = resampled(traces)
    area = roc_auc_score(truth, chance)
    lower, upper = interval(truth, chance, drawn)
    high, low = limits
    up, down = chance >= high, chance <= low
    print(
        f"{name}: {len(traces)} traces, {truth.mean():.0%} supported, "
        f"AUROC {area:.3f} [{lower:.3f}–{upper:.3f}]\n"
        f"  called supported {up.mean():.0%}, of these {truth[up].mean():.0%} are; "
        f"not supported {down.mean():.0%}, of these {truth[down].mean():.0%} are; weak "
        f"{1 - up.mean() - down.mean():.0%}, of these {truth[~up & ~down].mean():.0%} are"
    )
    if not singles:
        return
    columns = {n: oriented(traces[n], truth) for n in FEATURES}
    for n, values in sorted(columns.items(), key=lambda c: -roc_auc_score(truth, c[1])):
        less = [
            roc_auc_score(truth[d], chance[d]) - roc_auc_score(truth[d], values[d]) for d in drawn
        ]
        a, b = np.quantile(less, [0.025, 0.975])
        lower, upper = interval(truth, values, drawn)
        print(
            f"    {n:26s} {roc_auc_score(truth, values):.3f} [{lower:.3f}–{upper:.3f}]  rule − this "
            f"{area - roc_auc_score(truth, values):+.3f} [{a:+.3f}–{b:+.3f}]"
        )


def oriented(values, truth):
    """A feature with the sign under which it separates; unknown values at its mean."""
    filled = values.astype(float).fillna(values.astype(float).mean()).to_numpy()
    return filled if roc_auc_score(truth, filled) >= 0.5 else -filled


def resampled(traces, resamples=1000):
    """Rows of traces, drawn by query of a run: the answers to one query are not independent."""
    groups = traces.groupby(["run", "query"]).ngroup().to_numpy()
    members = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    rng = np.random.default_rng(0)
    return [
        np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        for _ in range(resamples)
    ]


def interval(truth, values, drawn):
    return np.quantile([roc_auc_score(truth[d], values[d]) for d in drawn], [0.025, 0.975])


def by_group(traces):
    for by in ("task", "method", "run"):
        for name, part in traces.groupby(by):
            both = 0 < part["supported"].mean() < 1
            area = f"{roc_auc_score(part['supported'], part['chance']):.2f}" if both else "–"
            print(
                f"{by} {name:20s} n {len(part):4d} supported {part['supported'].mean():.2f} "
                f"mean chance {part['chance'].mean():.2f} AUROC {area}"
            )


def write(traces, limits):
    """Puts the rules that are fitted on all traces into the package."""
    rules = []
    for name in RULES:
        mean, scale, model = fitted(traces, [name])
        high, low = limits[name]
        numbers = {
            "mean": mean[name],
            "scale": scale[name],
            "weight": model.coef_[0][0],
            "intercept": model.intercept_[0],
            "supported": high,
            "unsupported": low,
        }
        rounded = {key: round(float(value), 4) for key, value in numbers.items()}
        fitted_on = f"{len(traces)} traces of {traces['run'].nunique()} runs"
        rules.append({"feature": name, **rounded, "fitted": fitted_on})
    text = json.dumps(rules, indent=2) + "\n"
    (files("wherefrom.diagnose") / FILE).write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
