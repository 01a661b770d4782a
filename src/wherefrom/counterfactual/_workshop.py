"""Workshop: retrained models on request, each trained once, spread over groups and processes."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from wherefrom.counterfactual._cache import OutcomeCache
from wherefrom.counterfactual._retrainer import Retrainer
from wherefrom.identity import digest_value
from wherefrom.progress import say, track
from wherefrom.world import World


@dataclass(frozen=True)
class _Group:
    """Models that are trained together.

    Attributes:
        seed: of the run.
        weights: models × rows.
    """

    seed: int
    weights: np.ndarray


class Workshop:
    """Answers what models retrained on weighted rows make of the queries.

    What is known already is read from the cache. The rest is cut into groups in the order asked, so a job
    that is killed and started again forms the very groups that are missing.

    Args:
        retrainer: trains and reads.
        cache: keeps what was read.
        here: the processes that share the work.
    """

    def __init__(
        self, retrainer: Retrainer, cache: OutcomeCache, here: World | None = None
    ) -> None:
        self.retrainer = retrainer
        self.cache = cache
        self.world = here or World()
        self.trained = 0
        self._queries = [query.digest() for query in retrainer.queries]
        self._speed: float | None = None
        # groups are cut from what the cache lacks: all must have read it before anyone adds to it
        self.world.wait()

    def outcomes(
        self, weights: np.ndarray, seeds: Sequence[int], outcome: str, label: str
    ) -> np.ndarray:
        """Outcomes of a model for each line of weights and each seed.

        Args:
            weights: models × rows: each row's weight in the loss, 0 = left out.
            seeds: of the runs.
            outcome: which of `wherefrom.counterfactual.OUTCOMES`.
            label: what the models are for, told to the person who waits.

        Returns:
            float64, seeds × models × queries.

        Raises:
            NonFiniteError: a model diverged.
        """
        groups = list(self._missing(weights, seeds, outcome))
        self._announce(groups, len(weights) * len(seeds), label)
        mine = groups[self.world.rank :: self.world.size]
        steps = sum(len(self.retrainer.plan(group.seed).batches) for group in mine)
        if mine:
            with track(f"{label}: training steps", steps) as advance:
                for group in mine:
                    self._train(group, advance)
        if groups:
            self.world.wait()
            self.cache.refresh()
            self.world.wait()
        found = [
            [self._known(line, seed, outcome) for line in np.asarray(weights)] for seed in seeds
        ]
        assert all(line is not None for lines in found for line in lines), "every model was trained"
        values = np.array(found, dtype=np.float64)
        return values.reshape(len(seeds), len(weights), len(self._queries))

    def seconds(self, tokens: int) -> float:
        """How long training on that many tokens takes, about; measured once."""
        if self._speed is None:
            self._speed = self.retrainer.seconds_per_token()
        return tokens * self._speed / self.world.size

    def _missing(self, weights: np.ndarray, seeds: Sequence[int], outcome: str) -> Iterator[_Group]:
        size = self.retrainer.together
        for seed in seeds:
            wanted: dict[str, np.ndarray] = {}
            for line in weights:
                if self._known(line, seed, outcome) is None:
                    wanted.setdefault(digest_value(self.retrainer.key(line, seed)), line)
            lines = list(wanted.values())
            for start in range(0, len(lines), size):
                yield _Group(seed, np.stack(lines[start : start + size]))

    def _announce(self, groups: Sequence[_Group], asked: int, label: str) -> None:
        if not self.world.first:
            return
        models = sum(len(group.weights) for group in groups)
        if not models:
            say(f"{label}: {asked} models, all of them known")
            return
        tokens = sum(self.retrainer.tokens(group.weights, group.seed) for group in groups)
        over = f" on {self.world.size} processes" if self.world.size > 1 else ""
        say(
            f"{label}: {models} of {asked} models to train, {tokens:,} tokens, about "
            f"{duration(self.seconds(tokens))}{over}, {self.retrainer.together} at a time"
        )

    def _train(self, group: _Group, advance: Any) -> None:
        begun = time.perf_counter()
        found = self.retrainer.outcomes(group.weights, group.seed, lambda tokens: advance(1))
        entries = []
        for index, line in enumerate(group.weights):
            known = {
                query: {name: float(values[index, q]) for name, values in found.items()}
                for q, query in enumerate(self._queries)
            }
            entries.append((self.retrainer.key(line, group.seed), known))
        about = {
            "seconds": round(time.perf_counter() - begun, 3),
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
        self.cache.put(entries, about)
        self.trained += len(group.weights)

    def _known(self, line: np.ndarray, seed: int, outcome: str) -> list[float] | None:
        return self.cache.get(self.retrainer.key(line, seed), self._queries, outcome)


def duration(seconds: float) -> str:
    """Seconds as people say them.

    Example:
        >>> duration(40), duration(600), duration(9000)
        ('40 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
