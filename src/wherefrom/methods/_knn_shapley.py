"""KNN-Shapley: what each training row adds to a nearest-neighbour model of the query, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from wherefrom.data import Example
from wherefrom.errors import SettingError
from wherefrom.methods._evidence import Evidence
from wherefrom.methods._method import DirectMethod
from wherefrom.methods._registry import method
from wherefrom.methods._representation import RepSim
from wherefrom.signals import POOLS, Kind, Need, both

_SAME = 1e-6


@method("knn_shapley")
@dataclass(frozen=True)
class KnnShapley(DirectMethod):
    """KNN-Shapley: exact Shapley values of a k-nearest-neighbour vote on hidden states (1908.08619).

    A set S of training rows is worth v(S) = (1/k) Σ a_j over the min(k, |S|) rows of S nearest to the
    query; distance is 1 − cosine of hidden states (that of `repsim`), a_j ∈ [0, 1] how well row j's
    response matches the query's. With rows numbered from the nearest, 1 to N, the Shapley values are

        s_N = a_N · min(k, N) / (N·k),    s_i = s_{i+1} + (a_i − a_{i+1}) · min(k, i) / (i·k),

    which add up to v of all rows, for any k and N. Higher = the row brings a response like the query's
    to where the query is; near rows that answer otherwise score low, below 0 if others match better.

    Where we differ: the paper's matches are equal labels. `match=response` needs no labels: a_j is the
    cosine of the mean response states at the last layer, or 0 where that is negative. Of rows equally
    far from the query (to 1e-9), those that match better count as nearer; rows equal in both score
    alike, since the recursion adds nothing between them. So no score depends on the order of rows.

    With `match=label` the method is told the very answer that tasks on classes ask for: leave it out of
    comparisons there.

    Attributes:
        position: where neighbours are looked for: `last_prompt`, or the mean over the prompt, the
            response, or all tokens: `mean_prompt`, `mean_response`, `mean_all`.
        layer: of these states; 0 is the embedding, −1 the last layer after its norm.
        match: `response`, or `label`: 1 for training rows with the query's label, else 0.
        k: how many neighbours vote.
    """

    family: ClassVar[str] = "representation"
    paper: ClassVar[str] = "1908.08619"
    unit: ClassVar[str] = "Shapley value; a query's add up to the mean match of its k nearest rows"
    position: str = "last_prompt"
    layer: int = -1
    match: str = "response"
    k: int = 5

    def __post_init__(self) -> None:
        if self.position not in POOLS:
            raise SettingError(
                f"{self.name}: position must be one of {', '.join(POOLS)}, not {self.position!r}."
            )
        if self.match not in ("response", "label"):
            raise SettingError(f"{self.name}: match must be response or label, not {self.match!r}.")
        if self.k < 1:
            raise SettingError(f"{self.name}: k must be 1 or more, not {self.k}.")

    @property
    def needs(self) -> frozenset[Need]:
        """Hidden states."""
        return both(Kind.HIDDEN)

    def score(self, evidence: Evidence) -> np.ndarray:
        """Shapley values, queries × training rows.

        Raises:
            SettingError: `match=label` and a query, or every training row, has no label.
        """
        closeness = RepSim(position=self.position, layer=self.layer).score(evidence)
        # equal states may differ in the last bits, by where they stand in a matrix product
        distance = _places(1 - closeness)
        match = self._match(evidence)
        order = np.lexsort((-match, distance), axis=-1)
        a = np.take_along_axis(match, order, axis=1)
        i = np.arange(1, a.shape[1] + 1)
        steps = -np.diff(a, axis=1, append=0.0) * np.minimum(self.k, i) / (i * self.k)
        values = np.empty_like(a)
        np.put_along_axis(values, order, steps[:, ::-1].cumsum(1)[:, ::-1], axis=1)
        return values

    def _match(self, evidence: Evidence) -> np.ndarray:
        if self.match == "response":
            return np.asarray(RepSim(position="mean_response").score(evidence).clip(min=0))
        train, query = _labels(evidence.train_rows), _labels(evidence.query_rows)
        for row in evidence.query_rows:
            if row.label is None:
                raise SettingError(
                    f"{self.name}: query {row.id!r} has no label; use match=response, or label it."
                )
        if not any(label is not None for label in train):
            raise SettingError(f"{self.name}: no training row has a label; use match=response.")
        return np.asarray(query[:, None] == train[None, :], dtype=np.float64)


def _labels(rows: Sequence[Example]) -> np.ndarray:
    return np.array([row.label for row in rows], dtype=object)


def _places(distance: np.ndarray) -> np.ndarray:
    """Distances as ranks; neighbours in rank that differ by no more than noise share one."""
    order = np.argsort(distance, axis=1, kind="stable")
    ranked = np.take_along_axis(distance, order, axis=1)
    groups = np.cumsum(np.diff(ranked, axis=1, prepend=ranked[:, :1]) > _SAME, axis=1)
    found = np.empty(distance.shape, dtype=np.int64)
    np.put_along_axis(found, order, groups, axis=1)
    return found
