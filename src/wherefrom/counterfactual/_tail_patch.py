"""Tail-patch: a few more training steps on a method's top rows, without retraining anything."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wherefrom.counterfactual._leave_out import Asked
from wherefrom.counterfactual._subsets import without_random, without_top
from wherefrom.counterfactual._training import Ending
from wherefrom.counterfactual._workshop import duration
from wherefrom.metrics import RemovalDrop, removal_drop
from wherefrom.progress import say, track
from wherefrom.scores import Scores


def tail_patch(
    asked: Asked,
    scores: Sequence[Scores],
    ending: Ending,
    k: int,
    *,
    steps: int = 1,
    draws: int = 20,
) -> dict[str, RemovalDrop]:
    """Trains the final model for a few steps on the k rows that each method ranks first.

    A step goes down the rows' mean loss by the mean learning rate of the fine-tune's last epoch, each entry
    divided by the square root of AdamW's second moment as the fine-tune left it; there is no momentum and
    no dropout, so what is measured comes from these rows alone. (By its first rate, a step wrecked a model
    that had settled.) Source: TrackStar, arXiv 2410.17413, section 4.4.

    Args:
        asked: what is asked of whom.
        scores: of the methods; a lexical one among them is what others are to be compared with.
        ending: where the fine-tune stopped.
        k: rows of a step.
        steps: how many steps, each on all k rows.
        draws: random sets of k rows, shared by all queries and methods.

    Returns:
        By method: the gain of each query's own outcome (after − before, positive = the rows push the
        model towards the response) against that by random rows. Named as in `removal_drop`; what is
        called a drop there is a gain here.
    """
    own = [asked.own(one) for one in scores]
    n, queries = len(asked.train_ids), len(asked.query_ids)
    sets = ~np.concatenate(
        [without_random(n, k, draws), *(without_top(one, k, asked.train_ids) for one in own)]
    )
    gains = patch_gains(asked, ending, sets, steps=steps)
    # a gain is the drop of what goes down: the outcome with its sign turned
    full, random = np.zeros((1, queries)), -gains[:draws][:, None]
    found, each = {}, np.arange(queries)
    for index, one in enumerate(own):
        patched = gains[draws + index * queries + each, each]
        found[one.method] = removal_drop(full, -patched[None], random)
    return found


def patch_gains(
    asked: Asked, ending: Ending, sets: np.ndarray, *, steps: int = 1, label: str = "tail-patch"
) -> np.ndarray:
    """What a few steps on sets of rows do to the queries' outcomes; see `tail_patch`.

    Args:
        asked: what is asked of whom.
        ending: where the fine-tune stopped.
        sets: boolean, sets × rows: the rows of each set, all of them in one step. Sets that are alike are
            stepped on once.
        steps: how many steps.
        label: what this is for, told to the person who waits.

    Returns:
        After − before, sets × queries, in the unit of the outcome: positive = the rows push the model
        towards the response.
    """
    retrainer = asked.workshop.retrainer
    distinct = np.unique(sets, axis=0)
    tokens = steps * int(sum(distinct @ np.array([len(row.ids) for row in retrainer.rows])))
    say(
        f"{label}: {len(distinct)} sets of {int(sets.sum(1).max())} rows, {steps} step(s) each, about "
        f"{duration(asked.workshop.seconds(tokens))} and the queries"
    )
    before = retrainer.patched(ending, np.zeros((1, sets.shape[1])), 0)[asked.outcome][0]
    after: dict[bytes, np.ndarray] = {}
    with track(label, len(distinct)) as advance:
        for start in range(0, len(distinct), retrainer.together):
            group = distinct[start : start + retrainer.together]
            found = retrainer.patched(ending, group.astype(np.float64), steps)[asked.outcome]
            after |= {line.tobytes(): values for line, values in zip(group, found, strict=True)}
            advance(len(group))
    return np.asarray(np.stack([after[line.tobytes()] for line in sets]) - before)
