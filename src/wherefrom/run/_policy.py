"""The policy of a run: what is kept of gradients, chosen by what the disk may hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wherefrom.errors import SettingError
from wherefrom.progress import say
from wherefrom.run._states import PlannedPass
from wherefrom.signals import Policy

if TYPE_CHECKING:
    from wherefrom.run._config import IndexSettings
    from wherefrom.run._run import Run

_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_MODEST = 1e9
"""Bytes up to which gradients of all weights of a model are kept as they are."""

Size = Callable[["IndexSettings", Sequence[PlannedPass]], float]
"""Bytes that the signals of passes take under settings."""


@dataclass(frozen=True)
class Chosen:
    """A policy and whether gradients are kept in half precision."""

    policy: Policy
    half: bool
    why: str


def parse_size(text: str) -> float:
    """Bytes that `500MB` or `20GB` mean.

    Example:
        >>> parse_size("20GB")
        20000000000.0

    Raises:
        SettingError: it is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", text.lower())
    if match is None:
        raise SettingError(f"--disk {text!r} is no size; write 500MB or 20GB.")
    return float(match[1]) * _UNITS[match[2]]


def choose_policy(
    settings: IndexSettings,
    limit: float,
    passes: Sequence[PlannedPass],
    size: Size,
    *,
    adapter: bool,
) -> Chosen:
    """What is kept of gradients.

    Args:
        settings: whose policy and half precision may be left open.
        limit: bytes that the signals may take.
        passes: the passes that the methods come to under `exact`.
        size: what they take under settings.
        adapter: whether an adapter is traced; else all weights are.
    """
    rounded = settings.precision == "bfloat16"
    half = rounded if settings.half is None else settings.half
    if settings.policy != "auto":
        why = "as asked for"
        policy = Policy(settings.policy)
        if settings.half is None and _taken(settings, policy, half, passes, size) > limit:
            half = True
        return Chosen(policy, half, why)
    most = limit if adapter else min(limit, _MODEST)
    for each in (half, True) if settings.half is None else (half,):
        taken = _taken(settings, Policy.EXACT, each, passes, size)
        if taken <= most:
            return Chosen(Policy.EXACT, each, f"{taken / 1e9:.1f} GB")
    reason = "more than may be taken" if adapter else "all weights of a model are traced"
    return Chosen(Policy.PROJECTED, half, f"exact would take {taken / 1e9:.1f} GB: {reason}")


def settle_policy(
    run: Run, limit: float, passes: Sequence[PlannedPass], size: Size, *, restart: bool
) -> None:
    """Settles the policy of a run at its first pass, and keeps it on the card.

    Raises:
        SettingError: another policy is asked for than the signals that are there were kept under.
    """
    asked, held = run.config.index, run.card.entries.get("policy")
    if held is not None and not restart:
        for name, now, then in (
            ("policy", asked.policy, held["is"]),
            ("half", asked.half, held["half"]),
            ("projection", asked.projection, held["projection"]),
        ):
            if now not in ("auto", None, then):
                raise SettingError(
                    f"{run.path}: its signals were kept with {name} {then}, not {now}. Use --restart to "
                    "replace them."
                )
        return
    adapter = run.model.identity["adapter"] is not None
    settings = asked.settled({k: v for k, v in run.card.entries.items() if k != "policy"})
    chosen = choose_policy(settings, limit, passes, size, adapter=adapter)
    run.card.set(
        "policy",
        {
            "is": chosen.policy.value,
            "half": chosen.half,
            "projection": asked.projection,
            "why": chosen.why,
        },
    )
    kept = ", half precision" if chosen.half else ""
    say(f"policy: gradients are kept {chosen.policy.value}{kept} ({chosen.why})")


def _taken(
    settings: IndexSettings, policy: Policy, half: bool, passes: Sequence[PlannedPass], size: Size
) -> float:
    return size(settings.model_copy(update={"policy": policy.value, "half": half}), passes)
