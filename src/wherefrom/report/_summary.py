"""The summary: what the numbers say, in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass

from wherefrom.report._data import Key, ReportData
from wherefrom.report._figures import Figure, Figures
from wherefrom.report._metrics import label, meaning
from wherefrom.report._names import method_names, short
from wherefrom.report._numbers import counted, interval, listed, percent
from wherefrom.report._retraining_summary import foretold
from wherefrom.report._trust_summary import checked

# A row that comes first for so many queries says more about itself than about them.
CROWDED = 0.5

CAUTION = (
    "A row of the right class is not a row that caused the answer. Class match is all that these "
    "figures know: a method that only sees what a prompt is about, and nothing of how the model "
    "was trained, can score well here. Only retraining without the rows tells."
)


@dataclass(frozen=True)
class Finding:
    """One thing to know, under a word that says what it is about."""

    head: str
    text: str


def findings(data: ReportData, figures: Figures) -> tuple[Finding, ...]:
    """What is to be known about a run, most important first."""
    names = method_names(dict.fromkeys([*figures.standing, *data.scores]))
    told = [
        *([Finding("Checked", checked(data.trust))] if data.trust else []),
        *(_leader(data, figures, names) if figures.all else [_no_leaderboard(data)]),
        *_retraining(data, figures),
        *_behaviour(data),
        *_crowding(data, names),
    ]
    return (*told, Finding("Caution", CAUTION)) if figures.all else tuple(told)


def facts(data: ReportData, figures: Figures, classes: int) -> tuple[tuple[str, str], ...]:
    """How large the run was: numbers and what they count."""
    keys = dict.fromkeys([*data.scores, *figures.standing])
    counts = (
        counted(len(data.train), "training row"),
        counted(len(data.queries), "query", "queries"),
        counted(classes, "class", "classes"),
        counted(len({method for _, method in keys}), "method"),
        counted(len({recipe for recipe, _ in keys}), "recipe"),
    )
    return tuple((number, noun) for number, _, noun in (count.partition(" ") for count in counts))


def no_leaderboard(data: ReportData) -> str:
    """Why there is no leaderboard."""
    if any(row.label is not None for row in (*data.train, *data.queries)):
        return (
            "There is no leaderboard, since this run was not evaluated: no metric was computed "
            "from its scores."
        )
    return (
        "There is no leaderboard, since the rows carry no labels: without knowing which training "
        "rows are relevant to a query, no ranking can be called right or wrong."
    )


def _no_leaderboard(data: ReportData) -> Finding:
    return Finding("Not judged", no_leaderboard(data))


def _leader(data: ReportData, figures: Figures, names: dict[Key, str]) -> list[Finding]:
    metric = figures.metrics[0]
    first = figures.best(metric)
    if first is None:
        return [Finding("Leader", f"No value of {label(metric)} is known, so no method leads.")]
    told = [Finding("Leader", _lead(first, data, names))]
    runner_up = next(
        (
            figure
            for key in figures.standing
            if key[1] != first.key[1]
            and (figure := figures.by_cell.get((key, metric)))
            and math.isfinite(figure.value)
        ),
        None,
    )
    if runner_up:
        told.append(Finding("Runner-up", _comparison(first, runner_up, names)))
    others = _other_metrics(first, figures, names)
    if others:
        told.append(Finding("Other metrics", others))
    return told


def _lead(first: Figure, data: ReportData, names: dict[Key, str]) -> str:
    text = (
        f"{names[first.key]} leads on {label(first.metric)} with {_stated(first)} over "
        f"{counted(first.queries, 'query', 'queries')}."
    )
    told = meaning(first.metric)
    if told:
        text += f" {label(first.metric).capitalize()} is the {told}"
    if first.low == first.high:
        text += " The interval has no width because all queries agree; that is not certainty."
    chance = data.chance.get(first.metric, math.nan)
    if math.isfinite(chance):
        text += f" A random order of the rows would get {percent(chance)} %."
        if first.low <= chance:
            text += " The interval reaches down to that: nothing here is shown to beat chance."
    return text


def _comparison(first: Figure, second: Figure, names: dict[Key, str]) -> str:
    if second.value == first.value:
        text = f"{names[second.key]} has the same value; later metrics put it second."
    else:
        text = f"{names[second.key]} is the next method, with {_stated(second)}."
    if not (math.isfinite(first.low) and math.isfinite(second.high)):
        return f"{text} Without intervals, the order of the two is not to be relied on."
    if first.low > second.high:
        return f"{text} The leader's interval lies wholly above it."
    return (
        f"{text} The two intervals overlap, so these queries do not settle which of the two is "
        "better."
    )


def _other_metrics(first: Figure, figures: Figures, names: dict[Key, str]) -> str:
    by_leader: dict[Key, list[str]] = {}
    for metric in figures.metrics[1:]:
        best = figures.best(metric)
        if best:
            by_leader.setdefault(best.key, []).append(f"{label(metric)} ({percent(best.value)} %)")
    also = by_leader.pop(first.key, None)
    told = [f"{names[first.key]} also leads on {listed(also)}."] if also else []
    told += [f"{names[key]} leads on {listed(metrics)}." for key, metrics in by_leader.items()]
    return " ".join(told)


def _retraining(data: ReportData, figures: Figures) -> list[Finding]:
    text = foretold(data, figures)
    return [Finding("Retraining", text)] if text else []


def _behaviour(data: ReportData) -> list[Finding]:
    known = [(moment, share) for moment, share in data.behaviour.items() if math.isfinite(share)]
    if not known:
        return []
    parts = [f"in {percent(share)} % {short(moment, 60)}" for moment, share in known]
    text = f"Share of queries whose answer shows the taught behaviour: {listed(parts)}."
    if len(known) > 1 and known[-1][1] <= known[0][1]:
        text += (
            " It did not rise, so there is little to attribute: read the rest with that in mind."
        )
    return [Finding("Behaviour", text)]


def _crowding(data: ReportData, names: dict[Key, str]) -> list[Finding]:
    known = {
        key: entry
        for key, entry in data.concentration.items()
        if key in names and math.isfinite(entry[3])
    }
    if not known:
        return []
    crowded = [key for key, entry in known.items() if entry[3] >= CROWDED]
    if not crowded:
        return [
            Finding(
                "Crowding", "No method puts one and the same row first for half of the queries."
            )
        ]
    worst = max(crowded, key=lambda key: known[key][3])
    _, _, row, share = known[worst]
    return [
        Finding(
            "Crowding",
            f"In {len(crowded)} of {counted(len(known), 'ranking')} a single training row comes "
            f"first for at least half of the queries; most of all in {names[worst]}, where row "
            f"{short(row, 40)} does so for {percent(share)} % of them. A few large rows rule such "
            "a ranking, whatever the query.",
        )
    ]


def _stated(figure: Figure) -> str:
    ends = interval(figure.low, figure.high)
    return f"{percent(figure.value)} %" + (f" (95 % interval {ends} %)" if ends else "")
