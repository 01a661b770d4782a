"""TopK: the rows at both ends of a method's scores, where all of them would be too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Ranked:
    """Training rows from one end of every query's scores, the outermost first.

    Attributes:
        indices: int64, queries × k, positions in `train_ids`.
        values: float32, queries × k, their scores; higher = pushed the model more towards the response.
        query_ids: ids of the rows of both.
        train_ids: the ids that positions are of; read from a file, those alone that stand in it.
        method: the method as typed.
    """

    indices: np.ndarray
    values: np.ndarray
    query_ids: tuple[str, ...]
    train_ids: tuple[str, ...]
    method: str

    @cached_property
    def ids(self) -> np.ndarray:
        """Ids of the training rows, queries × k, as objects."""
        found = np.empty(self.indices.shape, dtype=object)
        found.ravel()[:] = [self.train_ids[i] for i in self.indices.ravel()]
        return found

    def to_pandas(self) -> pd.DataFrame:
        """One line for each query and rank: query, rank (from 1), train, score, method."""
        import pandas as pd

        queries, k = self.indices.shape
        return pd.DataFrame(
            {
                "query": np.repeat(np.array(self.query_ids, dtype=object), k),
                "rank": np.tile(np.arange(1, k + 1), queries),
                "train": self.ids.ravel(),
                "score": self.values.ravel(),
                "method": self.method,
            }
        )


@dataclass(frozen=True)
class TopK:
    """For each query the k rows that pushed most towards its response, and the k that pushed most against.

    What `Scores` says of the same rows, without those in between. Where there are fewer than 2k training
    rows, some stand at both ends.

    Attributes:
        proponents: the highest scores, highest first.
        opponents: the lowest scores, lowest first.
        rows: how many training rows were scored.
        settings: every setting of the method, defaults too, and what it measured of itself.
        unit: what one unit of the scores is; `arbitrary` where only the order means anything.
    """

    proponents: Ranked
    opponents: Ranked
    rows: int
    settings: dict[str, Any] = field(default_factory=dict)
    unit: str = "arbitrary"

    @property
    def method(self) -> str:
        """The method as typed, with every setting that differs from its default."""
        return self.proponents.method

    @property
    def query_ids(self) -> tuple[str, ...]:
        """Ids of the queries."""
        return self.proponents.query_ids

    @property
    def k(self) -> int:
        """How many rows stand at each end."""
        return int(self.proponents.indices.shape[1])

    def to_pandas(self) -> pd.DataFrame:
        """One line for each query, end and rank: end (proponent, opponent), and what `Ranked` gives."""
        import pandas as pd

        ends = {"proponent": self.proponents, "opponent": self.opponents}
        frames = [ranked.to_pandas().assign(end=end) for end, ranked in ends.items()]
        return pd.concat(frames, ignore_index=True)


def tiebreaks(ids: Sequence[str]) -> np.ndarray:
    """What breaks ties between rows: a digest of each one's id, uint64, the lower first.

    Not its place in the file: no ranking depends on the order of the rows, and no class that happens to
    stand first is favoured.
    """
    digest = xxhash.xxh3_64_intdigest
    found = (digest(i.encode("utf-8", "surrogatepass")) for i in ids)
    return np.fromiter(found, dtype=np.uint64, count=len(ids))


def ranking(values: np.ndarray, train_ids: tuple[str, ...]) -> np.ndarray:
    """Positions of the training rows of each query, best score first; ties by `tiebreaks`.

    Args:
        values: queries × training rows.
        train_ids: ids of the columns.

    Returns:
        int64, queries × training rows.
    """
    keys = np.broadcast_to(tiebreaks(train_ids), values.shape)
    return np.asarray(np.lexsort((keys, -values), axis=-1))
