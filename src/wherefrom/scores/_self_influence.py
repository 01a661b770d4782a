"""Self-influence that any tool wrote: one number for each training row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wherefrom.errors import DataError, NonFiniteError, SettingError
from wherefrom.scores._files import is_number, read_npy

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ("id", "row", "row_id", "train", "train_id")
_FORMS = (
    "a column of ids (id, row or train) and one of numbers, or one number for each row in order"
)


def read_self_influence(path: Path, train_ids: tuple[str, ...]) -> np.ndarray:
    """Reads one number for each training row.

    CSV and Parquet may carry ids: a column named `id` (or `row`, `row_id`, `train`, `train_id`), or
    training ids as the names of the columns of a single line; numbers are then put in the order asked
    for. Without ids, and in NPY, there must be exactly as many numbers as rows.

    Args:
        path: `.csv`, `.parquet` or `.npy`.
        train_ids: ids of the training rows, in the order wanted.

    Returns:
        float64, one for each row.

    Raises:
        DataError: the file cannot be read, or its length or ids do not fit the data.
        NonFiniteError: a number is NaN or Inf; the row is named.
        SettingError: the file's ending is none of those allowed.
    """
    readers = {".npy": _read_npy, ".csv": _read_csv, ".parquet": _read_parquet}
    ending = path.suffix.lower()
    if ending not in readers:
        raise SettingError(f"{path}: self-influence is read from .csv, .parquet or .npy.")
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    values = _ordered(readers[ending](path), path, train_ids)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise NonFiniteError(
            f"{path}: the self-influence of training row {train_ids[bad[0]]!r} is {values[bad[0]]} "
            f"({len(bad)} such values). Check that row and the model's weights for NaN."
        )
    return values


def _read_npy(path: Path) -> pd.DataFrame:
    import pandas as pd

    values = read_npy(path)
    if values.size != max(values.shape, default=1):
        raise DataError(f"{path}: has shape {values.shape}, but must hold one number for each row.")
    return pd.DataFrame(values.reshape(-1, 1))


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        # all as text first: a header of numbers would else be taken for a row, or ids for numbers
        found = pd.read_csv(path, header=None, dtype=str, keep_default_na=False)
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a readable CSV vector ({error}).") from None
    if not all(map(is_number, found.iloc[0])):
        found, names = found.iloc[1:], [str(name).strip() for name in found.iloc[0]]
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise DataError(f"{path}: the column {twice[0]!r} stands twice.")
        found.columns = pd.Index(names)
    numbers = [n for n in found.columns if n not in _KEYS and found[n].map(is_number).all()]
    return found.astype(dict.fromkeys(numbers, float))


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    try:
        found = pd.read_parquet(path)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from None
    if found.index.name in _KEYS or found.index.dtype.kind not in "iu":
        found = found.rename_axis(_KEYS[0]).reset_index()
    return found


def _ordered(frame: pd.DataFrame, path: Path, train_ids: tuple[str, ...]) -> np.ndarray:
    import pandas as pd

    frame.columns = pd.Index([str(name) for name in frame.columns])
    key = next((name for name in frame.columns if name in _KEYS), None)
    if key is None and len(frame) == 1:
        named = set(frame.columns) >= set(train_ids)
        frame = frame[list(train_ids)].T if named else frame.T
    elif key is not None:
        ids = pd.Index(frame[key].astype(str))
        missing = [row for row in train_ids if row not in set(ids)]
        if missing:
            raise DataError(
                f"{path}: has no number for training row {missing[0]!r} ({len(missing)} missing). Ids "
                "must be those of the data."
            )
        if ids.has_duplicates:
            raise DataError(f"{path}: the training row {ids[ids.duplicated()][0]!r} stands twice.")
        frame = frame.drop(columns=[key]).set_index(ids).loc[list(train_ids)]
    if frame.shape[1] != 1:
        raise DataError(f"{path}: has {frame.shape[1]} columns of values; give {_FORMS}.")
    column = frame.iloc[:, 0]
    if column.dtype.kind not in "iufb":
        raise DataError(
            f"{path}: column {frame.columns[0]!r} holds something that is not a number; give {_FORMS}."
        )
    if len(column) != len(train_ids):
        raise DataError(
            f"{path}: holds {len(column)} numbers, but the data has {len(train_ids)} training rows."
        )
    return column.to_numpy(dtype=np.float64)
