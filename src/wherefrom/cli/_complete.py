"""What a shell offers for values: methods, tasks, recipes; of a list, for what follows the last comma."""

from __future__ import annotations

from collections.abc import Iterable


def methods(incomplete: str) -> list[str]:
    """Methods, and the words that stand for several."""
    from wherefrom.methods import registered

    return _last(["all", "fast", "paper", *sorted(registered())], incomplete)


def tasks(incomplete: str) -> list[str]:
    """Benchmark tasks."""
    from wherefrom.tasks import list_tasks

    return _last(list_tasks(), incomplete)


def recipes(incomplete: str) -> list[str]:
    """Recipes."""
    from wherefrom.data import RECIPES

    return _last(RECIPES, incomplete)


def models(incomplete: str) -> list[str]:
    """Models that have a name; folders and files are the shell's own business."""
    from wherefrom.run import DEFAULT_MODEL

    return _last([DEFAULT_MODEL], incomplete)


def _last(names: Iterable[str], incomplete: str) -> list[str]:
    before, comma, begun = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(begun)]
