"""Where the ids of one thing stand in another, or which of them are missing there."""

from __future__ import annotations

import numpy as np

from wherefrom.errors import IdentityError


def places(
    ids: tuple[str, ...], among: tuple[str, ...], what: str, holder: str, other: str, fix: str
) -> np.ndarray:
    """The place of each id in `among`: int64.

    Args:
        ids: ids that `holder` has.
        among: ids that `other` has, in any order; it may have more.
        what: what one id stands for in messages: `query`.
        holder: who has `ids`.
        other: who has `among`.
        fix: what to do where ids are missing.

    Raises:
        IdentityError: an id is missing in `among`, or occurs twice on either side.
    """
    place = {id: index for index, id in enumerate(among)}
    missing = [id for id in ids if id not in place]
    if missing:
        raise IdentityError(
            f"{holder} has the {what} {missing[0]!r}, {other} has not ({len(missing)} of "
            f"{len(ids)} are missing). {fix}"
        )
    for owner, owned in ((holder, ids), (other, among)):
        if len(set(owned)) < len(owned):
            twice = next(id for index, id in enumerate(owned) if id in owned[:index])
            raise IdentityError(f"{owner} has the {what} {twice!r} twice. Score each row once.")
    return np.array([place[id] for id in ids], dtype=np.intp)
