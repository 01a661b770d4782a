"""Scores: what every method ends in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from wherefrom.errors import NonFiniteError, SettingError, WherefromError
from wherefrom.scores._topk import Ranked, TopK, ranking

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    import xarray as xr

SIGN = "higher = pushed the model more towards this response"


@dataclass(frozen=True)
class Scores:
    """One number for each query and training row.

    Attributes:
        values: float32, queries × training rows; higher = pushed the model more towards the query's
            response.
        query_ids: ids of the rows of `values`.
        train_ids: ids of the columns of `values`.
        method: the method as typed, with every setting that differs from its default.
        settings: every setting of the method, defaults too, and what it measured of itself.
        unit: what one unit of `values` is; `arbitrary` where only the order means anything.

    Raises:
        NonFiniteError: a value is NaN or Inf; the query and training row are named.
    """

    values: np.ndarray
    query_ids: tuple[str, ...]
    train_ids: tuple[str, ...]
    method: str
    settings: dict[str, Any] = field(default_factory=dict)
    unit: str = "arbitrary"

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        object.__setattr__(self, "values", values)
        if values.shape != (len(self.query_ids), len(self.train_ids)):
            raise WherefromError(
                f"scores of {self.method} have shape {values.shape} for {len(self.query_ids)} "
                f"queries and {len(self.train_ids)} training rows."
            )
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            query, row = bad[0]
            raise NonFiniteError(
                f"{self.method} gave {values[query, row]} for query {self.query_ids[query]!r} and "
                f"training row {self.train_ids[row]!r} ({len(bad)} such values). Check that row and "
                "the model's weights for NaN."
            )

    def top(self, k: int = 10, *, opponents: bool = False) -> Ranked:
        """The k training rows with the highest scores (or lowest, for opponents) of each query."""
        k = min(k, len(self.train_ids))
        order = ranking(-self.values if opponents else self.values, self.train_ids)[:, :k]
        return Ranked(
            indices=order,
            values=np.take_along_axis(self.values, order, axis=1),
            query_ids=self.query_ids,
            train_ids=self.train_ids,
            method=self.method,
        )

    def ends(self, k: int = 10) -> TopK:
        """Both ends of every query's scores, k rows each."""
        rows = len(self.train_ids)
        both = self.top(k), self.top(k, opponents=True)
        return TopK(*both, rows=rows, settings=self.settings, unit=self.unit)

    def for_query(self, query_id: str) -> np.ndarray:
        """The scores of one query, one for each training row.

        Raises:
            SettingError: no query has that id.
        """
        if query_id not in self.query_ids:
            raise SettingError(f"no query has id {query_id!r}; there are {len(self.query_ids)}.")
        return np.asarray(self.values[self.query_ids.index(query_id)])

    def to_pandas(self) -> pd.DataFrame:
        """A frame with queries as rows and training rows as columns, ids on both axes."""
        import pandas as pd

        return pd.DataFrame(
            self.values,
            index=pd.Index(self.query_ids, name="query"),
            columns=pd.Index(self.train_ids, name="train"),
        )

    def to_xarray(self) -> xr.DataArray:
        """An array of query × training row, ids as coordinates; method, unit and sign as attributes.

        Raises:
            SettingError: xarray is not installed.
        """
        return (
            as_xarray([self])
            .isel(spec=0, drop=True)
            .assign_attrs(method=self.method, unit=self.unit, sign=SIGN)
        )

    def to_parquet(self, path: Path) -> None:
        """Writes the file that `read_scores` reads, whole or not at all."""
        from wherefrom.scores._files import write_scores

        write_scores(self, path)


def as_xarray(scores: Sequence[Scores]) -> xr.DataArray:
    """Scores of the same queries and rows as one array: spec (the method as typed) × query × training row.

    Raises:
        SettingError: xarray is not installed.
    """
    try:
        import xarray as xr
    except ImportError:
        raise SettingError("this needs xarray: pip install wherefrom[xarray]") from None
    return xr.DataArray(
        np.stack([one.values for one in scores]),
        dims=("spec", "query", "train"),
        coords={
            "spec": [one.method for one in scores],
            "query": list(scores[0].query_ids),
            "train": list(scores[0].train_ids),
        },
        attrs={"sign": SIGN, "units": [one.unit for one in scores]},
    )
