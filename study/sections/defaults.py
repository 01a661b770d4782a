"""Which defaults follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from study import choice, factors
from study.grouped import ORACLE
from study.plan import side_of
from study.read import Made, difference, of
from wherefrom.run import AT_THE_END, DEFAULT_METHOD

_ELSEWHEN = ("influence(curvature=true, checkpoints=base)", "influence(checkpoints=base)")


def chosen(made: Sequence[Made]) -> dict[str, Any]:
    """Defaults: what leads where they are chosen, and what it is worth elsewhere."""
    if {side_of(one.task) for one in made} != {"choosing", "reported"}:
        return {}
    found = choice.choose(made)
    settings = choice.choose_setting(made, factors.OURS)
    choosing, reported = choice.split(made)
    return {
        "tasks": {
            "choosing": sorted({one.task for one in choosing}),
            "reported": sorted({one.task for one in reported}),
        },
        "ranked": [[name, value, found.judged[name]] for name, value in found.ranked],
        "anywhere": found.anywhere,
        "along": found.along,
        "oracle": found.judged[ORACLE],
        "against": found.against,
        "leads": {
            rival: difference(reported, of(found.anywhere, "lds"), of(rival, "lds"))
            for rival in choice.RIVALS
        },
        "leads_along": {
            rival: difference(reported, of(found.along, "lds"), of(rival, "lds"))
            for rival in (*choice.RIVALS, DEFAULT_METHOD)
        },
        "leads_end": {
            rival: difference(reported, of(AT_THE_END, "lds"), of(rival, "lds"))
            for rival in choice.RIVALS
        },
        "gained": {
            name: difference(reported, of(DEFAULT_METHOD, "lds"), of(name, "lds"))
            for name in dict.fromkeys([AT_THE_END, found.anywhere, *_ELSEWHEN])
        },
        "settings": [
            [one._asdict() | {"usual": one == factors.OURS}, a, b] for one, a, b in settings
        ],
    }
