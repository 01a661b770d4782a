"""The choice of defaults: made on some tasks and seeds, judged on others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from study.ablation import Setting, settings_of, spec_of
from study.grouped import ORACLE
from study.plan import side_of
from study.read import Made, combination, difference, estimate, methods_of, of
from wherefrom.methods import COSTS, parse_method
from wherefrom.metrics import Estimate
from wherefrom.run import DEFAULT_METHOD
from wherefrom.signals import At

RIVALS = (
    *("gradient_dot", "paper_lissa", "datainf", "repsim", "repsim(position=mean_response)"),
    *("bm25", "tfidf", "random"),
)
"""What the default is held against: the founding paper's methods, retrieval and chance."""
_ANYWHERE = ("text", "forward", "one pass", "more passes")


@dataclass(frozen=True)
class Choice:
    """What was chosen where, and what it is worth elsewhere.

    Attributes:
        ranked: methods with their linear datamodeling score on the tasks chosen on, best first.
        anywhere: the best that needs the final model alone, so that it serves any adapter.
        along: the best that needs the training run's checkpoints.
        judged: of every method, its score on the other tasks and seeds.
        against: the default's lead over each rival there, paired.
    """

    ranked: list[tuple[str, Estimate]]
    anywhere: str
    along: str
    judged: dict[str, Estimate]
    against: dict[str, Estimate]


def split(cells: Sequence[Made]) -> tuple[list[Made], list[Made]]:
    """Cells that defaults are chosen on, and those that the choice is judged on."""
    choosing = [one for one in cells if side_of(one.task) == "choosing"]
    return choosing, [one for one in cells if side_of(one.task) == "reported"]


def choose(cells: Sequence[Made], default: str = DEFAULT_METHOD) -> Choice:
    """Ranks methods on one half, and holds the default against its rivals on the other."""
    choosing, reported = split(cells)
    names = [name for name in methods_of(cells) if name != ORACLE]
    ranked = sorted(
        ((name, estimate(choosing, of(name, "lds"))) for name in names),
        # methods that are one and the same up to rounding keep their order on every machine
        key=lambda pair: -round(pair[1].value, 6),
    )
    order = [name for name, _ in ranked]
    anywhere = next(name for name in order if at_the_end(name))
    along = next(name for name in order if cost_of(name) == "checkpoints")
    return Choice(
        ranked,
        anywhere,
        along,
        {name: estimate(reported, of(name, "lds")) for name in [*names, ORACLE]},
        {
            rival: difference(reported, of(default, "lds"), of(rival, "lds"))
            for rival in dict.fromkeys([*RIVALS, anywhere, along])
            if rival != default
        },
    )


def choose_setting(
    cells: Sequence[Made], also: Setting, most: int = 5
) -> list[tuple[Setting, Estimate, Estimate]]:
    """The best combinations under a setting's mask where they are chosen, and the setting itself.

    Returns:
        Each with its score on either half.
    """
    mask = also.mask
    choosing, reported = split(cells)
    values = {one: combination(mask, spec_of(one), "lds") for one in settings_of(mask)}
    order = sorted(
        values, key=lambda one: -round(estimate(choosing, values[one], resamples=0).value, 6)
    )
    kept = list(dict.fromkeys([*order[:most], also]))
    return [(one, estimate(choosing, values[one]), estimate(reported, values[one])) for one in kept]


def at_the_end(spec: str) -> bool:
    """Whether a method needs no more than passes over the final model."""
    needs = parse_method(spec).needs
    return cost_of(spec) in _ANYWHERE and all(need.at is At.FINAL for need in needs)


def cost_of(spec: str) -> str:
    """The class of passes that a method needs."""
    cost = parse_method(spec).cost
    assert cost in COSTS
    return str(cost)
