"""Checks by name: one function each, registered where it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wherefrom.diagnose._finding import GROUPS, Finding, Group, NotMeasured
from wherefrom.diagnose._subject import Subject
from wherefrom.registry import Registry

Measure = Callable[[Subject], Finding]
"""Measures one thing of a subject; raises `NotMeasured` where it cannot."""

_CHECKS: Registry[Measure] = Registry("check", "wherefrom.checks")
_GROUPS: dict[str, Group] = {}


def check(name: str, group: Group) -> Callable[[Measure], Measure]:
    """Registers a check; packages use the entry point `wherefrom.checks`."""

    def register(measure: Measure) -> Measure:
        _CHECKS.add(name, measure)
        _GROUPS[name] = group
        return measure

    return register


def list_checks() -> dict[str, str]:
    """Names of all checks, each with the first line of its description."""
    return _CHECKS.about()


def run_checks(
    subject: Subject, names: Sequence[str] | None = None, groups: Sequence[Group] = GROUPS
) -> list[Finding]:
    """Makes every check, those of one group together, integrity first.

    Args:
        subject: what is checked.
        names: which checks; all when None.
        groups: only those of these groups.

    Raises:
        SettingError: no check has one of the names.
    """
    found = []
    for name in _CHECKS.names() if names is None else names:
        measure = _CHECKS.get(name)
        # of a package's check the group is known once it is loaded
        if _GROUPS.get(name, "sanity") in groups:
            found.append(_measured(name, measure, subject))
    return sorted(found, key=lambda one: GROUPS.index(one.group))


def _measured(name: str, measure: Measure, subject: Subject) -> Finding:
    try:
        return measure(subject)
    except NotMeasured as error:
        return Finding(name, _GROUPS.get(name, "sanity"), "unknown", f"not measured: {error}")
