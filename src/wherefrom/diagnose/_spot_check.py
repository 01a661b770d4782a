"""The causal spot check: do a few steps on an answer's top rows push the model towards it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wherefrom.counterfactual import Asked, Ending, patch_gains, without_top
from wherefrom.diagnose._random_rows import random_rows
from wherefrom.diagnose._trust import SpotCheck
from wherefrom.scores import Scores

_RATE = 0.15
"""Of the fine-tune's highest learning rate. Of 0.3 to 30 times the last epoch's mean rate, those near this
foretold retraining best, whatever the schedule (docs/results/trust.md)."""


def spot_checks(
    asked: Asked,
    scores: Scores,
    lexical: Sequence[Scores],
    ending: Ending,
    k: int,
    draws: int = 20,
    seed: int = 0,
) -> list[SpotCheck]:
    """Steps on each answer's top rows, on random rows and on those nearest by words.

    Args:
        asked: whose queries are asked, by which outcome.
        scores: whose top rows are stepped on.
        lexical: of methods that see nothing but words.
        ending: where the fine-tune stopped.
        k: rows of a step.
        draws: random sets, shared by all queries.
        seed: which random sets.

    Returns:
        One for each query of `asked`. Source of the step: TrackStar, arXiv 2410.17413, section 4.4.
    """
    queries = len(asked.query_ids)
    own = [asked.own(one) for one in (scores, *lexical)]
    tops = [~without_top(one, k, asked.train_ids) for one in own]
    sets = np.concatenate([random_rows(asked.train_ids, k, draws, seed), *tops])
    settings = asked.workshop.retrainer.settings
    there = replace(ending, rate=_RATE * settings.learning_rate)
    gains = patch_gains(asked, there, sets, label="spot check")
    found = []
    for q in range(queries):
        gain, *words = (float(gains[draws + i * queries + q, q]) for i in range(len(tops)))
        chance = gains[:draws, q]
        p = (1 + int((chance >= gain).sum())) / (1 + draws)
        found.append(SpotCheck(gain, tuple(map(float, chance)), tuple(words), p))
    return found
