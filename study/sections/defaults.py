"""Which defaults follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from study import choice, factors
from study.grouped import ORACLE
from study.plan import side_of
from study.read import Made, difference, of
from wherefrom.run import DEFAULT_METHOD


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
        "leads_default": difference(reported, of(found.anywhere, "lds"), of(DEFAULT_METHOD, "lds")),
        "settings": [
            [one._asdict() | {"usual": one == factors.OURS}, a, b] for one, a, b in settings
        ],
    }
