"""DRA: representations without what queries of one kind do not share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.curvature import inverse_norms
from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod, Trait
from wherefrom.methods._registry import method
from wherefrom.signals import POOLS, Kind, Need, both, hidden_name

_TINY = 1e-9


@method("dra")
@dataclass(frozen=True)
class Dra(DirectMethod):
    """Denoised representations: cosine in the dimensions that a set of queries shares (2502.11411).

    States are centred on the training rows' mean. In every set of queries, a dimension's consistency is
    |mean| / (standard deviation + 1e-9) of the set's centred states, so for a set of one it orders as
    |value|; the most consistent ones are kept (the first of equals), and the score is the cosine of
    query and training row in these alone.

    This is our formula sheet's reading of the paper (centre, then restrict to what a set of queries
    shares), not a transcription of it: the paper is also said to whiten, and to choose dimensions by how
    well they tell a target left out from other rows. Neither is done here.

    With `by=label` the method is told which queries belong together. That is a part of the answer where
    the task asks for rows of the query's class, and one that other methods do not get; training rows'
    labels are never looked at.

    Attributes:
        position: `last_prompt`, or the mean over the prompt, the response, or all tokens:
            `mean_prompt`, `mean_response`, `mean_all`.
        layer: 0 is the embedding, −1 the last layer after its norm.
        share: how much of the dimensions is kept, above 0 and up to 1; at least one dimension is.
        by: `label`: queries with one label are a set, and all queries are one set if any has no label;
            `all`: all queries are one set.
    """

    family: ClassVar[str] = "representation"
    paper: ClassVar[str] = "2502.11411"
    unit: ClassVar[str] = "cosine, −1 to 1"
    position: str = "last_prompt"
    layer: int = -1
    share: float = 0.5
    by: str = "label"

    def __post_init__(self) -> None:
        if self.position not in POOLS:
            raise SettingError(
                f"{self.name}: position must be one of {', '.join(POOLS)}, not {self.position!r}."
            )
        if not 0 < self.share <= 1:
            raise SettingError(
                f"{self.name}: share must be above 0 and at most 1, not {self.share}."
            )
        if self.by not in ("label", "all"):
            raise SettingError(f"{self.name}: by must be label or all, not {self.by!r}.")

    @property
    def traits(self) -> frozenset[Trait]:
        """Dimensions come from the set; states of the prompt say nothing of the response."""
        blind = self.position in ("last_prompt", "mean_prompt")
        return frozenset({Trait.QUERY_SET, *([Trait.RESPONSE_BLIND] if blind else [])})

    @property
    def needs(self) -> frozenset[Need]:
        """Hidden states."""
        return both(Kind.HIDDEN)

    def score(self, evidence: Evidence) -> np.ndarray:
        """Cosines, queries × training rows; 0 where a centred state is zero in all kept dimensions."""
        train, query = (
            self._at_layer(states) for states in evidence.read(hidden_name(self.position))
        )
        mean = train.mean(0)
        train, query = train - mean, query - mean
        count = max(1, round(self.share * train.shape[1]))
        scores = np.zeros((len(query), len(train)))
        for members in self._sets(evidence.query_rows):
            group = query[members]
            consistency = np.abs(group.mean(0)) / (group.std(0) + _TINY)
            kept = np.argsort(-consistency, kind="stable")[:count]
            scores[members] = _unit(group[:, kept]) @ _unit(train[:, kept]).T
        return scores

    def _at_layer(self, states: np.ndarray) -> np.ndarray:
        layers = states.shape[1]
        if not -layers <= self.layer < layers:
            raise SettingError(f"{self.name}: layer {self.layer} is not among 0 to {layers - 1}.")
        return np.asarray(states[:, self.layer].astype(np.float64))

    def _sets(self, rows: Sequence[Example]) -> Iterator[np.ndarray]:
        labels = [row.label for row in rows]
        if self.by == "all" or None in labels:
            yield np.arange(len(rows))
            return
        for label in dict.fromkeys(labels):
            yield np.array([number for number, other in enumerate(labels) if other == label])


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows * inverse_norms((rows**2).sum(1))[:, None])
