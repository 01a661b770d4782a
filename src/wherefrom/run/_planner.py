"""The planner: which passes the chosen methods come to, what they cost, what is left out and why."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wherefrom.capture import Speed
from wherefrom.errors import SettingError
from wherefrom.methods import COSTS, Method, Resource
from wherefrom.run._states import PlannedPass, States, merge
from wherefrom.signals import At, Need, Policy, Side

_UNITS = {"s": 1, "sec": 1, "min": 60, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Costs:
    """What a pass costs here.

    Attributes:
        speed: seconds a token takes.
        tokens: of each side.
        rows: of each side.
        row_bytes: bytes that one row's signals take on disk, by needs.
        memory: bytes that the widest pass takes, about.
        draw_tokens: tokens that the chain of draws is stepped through.
    """

    speed: Speed
    tokens: Mapping[Side, int]
    rows: Mapping[Side, int]
    row_bytes: Callable[[frozenset[Need]], int]
    memory: float
    draw_tokens: int

    def seconds(self, passes: Sequence[PlannedPass]) -> float:
        """Seconds of passes, and of the chain of draws where there is one."""
        total = 0.0
        for one in passes:
            each = self.speed.forward + one.backwards * self.speed.backward
            total += self.tokens.get(one.side, 0) * each
        if any(one.state.is_draw for one in passes):
            total += self.draw_tokens * (self.speed.forward + self.speed.backward)
        return total

    def disk(self, passes: Sequence[PlannedPass]) -> float:
        """Bytes that the signals take on disk."""
        return sum(self.rows.get(one.side, 0) * self.row_bytes(one.needs) for one in passes)


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        methods: the methods that will run.
        left_out: specs of those that will not, each with the reason.
        passes: the passes that they come to.
    """

    methods: tuple[Method, ...]
    left_out: dict[str, str]
    passes: tuple[PlannedPass, ...]

    def describe(
        self, costs: Costs | None, todo: Sequence[PlannedPass], what: str | None = None
    ) -> list[str]:
        """Lines for people: the passes still to be made, their time, disk and memory, what is left out.

        Args:
            costs: what passes cost; None says nothing of them.
            todo: the passes still to be made.
            what: what they are for; the methods when None.
        """
        lines = []
        if todo and costs is not None:
            minutes = costs.seconds(todo) / 60
            duration = f"{minutes:.0f} min" if minutes >= 2 else f"{60 * minutes:.0f} s"
            lines.append(
                f"plan: {what or f'{len(self.methods)} methods'}, {len(todo)} passes, about {duration}, "
                f"{costs.disk(todo) / 1e9:.1f} GB on disk, {costs.memory / 1e9:.1f} GB of memory"
            )
            lines += [f"  {one}" for one in _shortened(todo)]
        if self.left_out:
            lines.append(f"left out: {len(self.left_out)} methods")
            lines += [f"  {spec}: {why}" for spec, why in self.left_out.items()]
        return lines


def make_plan(
    methods: Sequence[Method],
    states: States,
    resources: frozenset[Resource],
    costs: Costs | None = None,
    budget: float | None = None,
    policy: Policy = Policy.EXACT,
) -> Plan:
    """Merges the needs of methods into the fewest passes.

    Args:
        methods: the methods that were chosen.
        states: the states of the model that there are.
        resources: what else there is.
        costs: what passes cost; None where no budget holds.
        budget: seconds that all passes may take together. The cheapest cost classes come first; a method
            that would go over it is left out.
        policy: what will be kept of gradients.
    """
    kept: list[Method] = []
    left: dict[str, str] = {}
    for m in methods:
        why = m.refusal(policy) or _missing(m, states, resources)
        if why:
            left[m.spec] = why
        else:
            kept.append(m)
    if budget is not None and costs is not None:
        kept, over = _within(kept, states, costs, budget)
        left |= over
    passes = merge((need for m in kept for need in m.needs), states)
    return Plan(tuple(kept), left, tuple(passes))


def parse_duration(text: str) -> float:
    """Seconds that `90s`, `10min` or `2h` mean.

    Example:
        >>> parse_duration("10min")
        600.0

    Raises:
        SettingError: it is no duration.
    """
    if text.strip().lower() == "none":
        return float("inf")
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h)\s*", text)
    if match is None:
        raise SettingError(f"--budget {text!r} is no duration; write 90s, 10min, 2h or none.")
    return float(match[1]) * _UNITS[match[2]]


def _missing(m: Method, states: States, resources: frozenset[Resource]) -> str | None:
    lacking = sorted(m.requires - resources)
    if lacking:
        return f"needs {lacking[0].value}"
    ats = {need.at for need in m.needs}
    if At.CHECKPOINTS in ats and not states.checkpoints:
        return (
            "needs checkpoints of the training run, which TrajectoryCallback keeps beside an adapter from "
            "elsewhere"
        )
    if At.BASE in ats and states.base is None:
        return "needs the weights from before training, which a fine-tune by wherefrom keeps"
    if At.DRAWS in ats and not states.draws:
        return "needs weights that can be trained"
    return None


def _within(
    methods: Sequence[Method], states: States, costs: Costs, budget: float
) -> tuple[list[Method], dict[str, str]]:
    chosen: set[str] = set()
    needs: set[Need] = set()
    left: dict[str, str] = {}
    for m in sorted(methods, key=lambda m: COSTS.index(m.cost)):
        together = costs.seconds(merge(needs | m.needs, states))
        if together > budget:
            left[m.spec] = f"would bring the passes to {together / 60:.1f} min, over the budget"
        else:
            chosen.add(m.spec)
            needs |= m.needs
    return [m for m in methods if m.spec in chosen], left


def _shortened(passes: Sequence[PlannedPass]) -> list[str]:
    lines: dict[str, list[str]] = {}
    for one in passes:
        kinds = sorted({n.slug.replace("-", " ") for n in one.needs})
        state = "draws" if one.state.is_draw else one.state.name
        key = f"{one.side.value}: {', '.join(kinds)}"
        lines.setdefault(key, []).append(state)
    found = []
    for what, names in lines.items():
        counted = {name: names.count(name) for name in names}
        states = ", ".join(f"{k} {n}" if k > 1 else n for n, k in counted.items())
        found.append(f"{states} — {what}")
    return found
