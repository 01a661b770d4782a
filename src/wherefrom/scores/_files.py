"""Scores on disk: our own Parquet, and anyone's matrix in CSV, Parquet or NPY."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wherefrom.atomic import atomic_path
from wherefrom.errors import DataError, SettingError
from wherefrom.scores._scores import SIGN, Scores
from wherefrom.scores._topk import Ranked, TopK

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_KEY = b"wherefrom.scores"
_TOP_KEY = b"wherefrom.top"
_KEYS = ("query", "query_id", "id")
_ENDS = ("proponents", "opponents")


def write_scores(scores: Scores, path: Path) -> None:
    """Writes one Parquet row a query: its id and the list of its scores.

    The training ids, the method with its settings, the unit and the sign are in the file's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {
        "train_ids": scores.train_ids,
        "method": scores.method,
        "settings": scores.settings,
        "unit": scores.unit,
        "sign": SIGN,
    }
    values = pa.FixedSizeListArray.from_arrays(
        pa.array(scores.values.ravel()), max(1, len(scores.train_ids))
    )
    table = pa.table({"query": pa.array(scores.query_ids, pa.string()), "scores": values})
    table = table.replace_schema_metadata({_KEY: json.dumps(about).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_scores(path: Path) -> Scores:
    """Reads what `write_scores` wrote.

    Raises:
        DataError: the file is missing, unreadable or not a score file of ours.
    """
    table, about = _ours(path, _KEY)
    values = table["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return Scores(
        values=values.reshape(table.num_rows, len(about["train_ids"])),
        query_ids=tuple(table["query"].to_pylist()),
        train_ids=tuple(about["train_ids"]),
        method=about["method"],
        settings=about["settings"],
        unit=about["unit"],
    )


def write_top(top: TopK, path: Path) -> None:
    """Writes one Parquet row a query: its id, and the ids and scores of both ends.

    The method with its settings, the unit, the sign and the number of scored rows are in the file's
    metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {
        "method": top.method,
        "settings": top.settings,
        "unit": top.unit,
        "sign": SIGN,
        "rows": top.rows,
        "k": top.k,
    }
    columns = {"query": pa.array(top.query_ids, pa.string())}
    for end in _ENDS:
        ranked: Ranked = getattr(top, end)
        columns[end] = pa.array(ranked.ids.tolist(), pa.list_(pa.string()))
        columns[f"{end} scores"] = pa.array(list(ranked.values), pa.list_(pa.float32()))
    table = pa.table(columns).replace_schema_metadata({_TOP_KEY: json.dumps(about).encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def read_top(path: Path) -> TopK:
    """Reads what `write_top` wrote.

    Raises:
        DataError: the file is missing, unreadable or not such a file of ours.
    """
    table, about = _ours(path, _TOP_KEY)
    query_ids = tuple(table["query"].to_pylist())
    ids = {end: table[end].to_pylist() for end in _ENDS}
    train_ids = tuple(dict.fromkeys(i for lines in ids.values() for line in lines for i in line))
    place = {i: number for number, i in enumerate(train_ids)}
    ends: dict[str, Ranked] = {}
    for end, lines in ids.items():
        indices = np.array([[place[i] for i in line] for line in lines], np.int64)
        values = np.array(table[f"{end} scores"].to_pylist(), np.float32)
        shape = len(query_ids), about["k"]
        found = indices.reshape(shape), values.reshape(shape)
        ends[end] = Ranked(*found, query_ids, train_ids, about["method"])
    proponents, opponents = (ends[end] for end in _ENDS)
    return TopK(proponents, opponents, about["rows"], about["settings"], about["unit"])


def _ours(path: Path, key: bytes) -> tuple[pa.Table, dict[str, Any]]:
    """A Parquet file of ours, and what its metadata says."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from None
    metadata = table.schema.metadata or {}
    if key not in metadata:
        what = "scores" if key == _KEY else "top rows"
        raise DataError(f"{path}: a Parquet file, but not {what} that wherefrom wrote.")
    return table, json.loads(metadata[key])


def read_matrix(
    path: Path,
    query_ids: tuple[str, ...],
    train_ids: tuple[str, ...],
    sign: Literal["positive", "negative"] = "positive",
) -> Scores:
    """Reads a score matrix (queries × training rows) that any tool wrote.

    CSV and Parquet may carry ids: a first column named `query` (or `query_id`, `id`) and training ids
    as the other column names; rows and columns are then put in the order asked for. Without ids, and
    in NPY, the matrix must have exactly the shape of the data.

    Args:
        path: `.csv`, `.parquet` or `.npy`; our own score files too.
        query_ids: ids of the queries, in the order wanted.
        train_ids: ids of the training rows, in the order wanted.
        sign: `negative` for tools in which the most helpful row has the lowest score.

    Raises:
        DataError: the file cannot be read, or its shape or ids do not fit the data.
        SettingError: the sign or the file's ending is none of those allowed.
    """
    if sign not in ("positive", "negative"):
        raise SettingError(f"sign must be positive or negative, not {sign!r}.")
    if not path.is_file():
        raise DataError(f"{path}: no such file.")
    ending = path.suffix.lower()
    if ending == ".npy":
        values = read_npy(path)
        if values.dtype.kind not in "iuf":
            raise DataError(f"{path}: holds {values.dtype}, not numbers.")
    elif ending == ".csv":
        values = _aligned(_read_csv(path), path, query_ids, train_ids)
    elif ending == ".parquet":
        values = _read_parquet(path, query_ids, train_ids)
    else:
        raise SettingError(f"{path}: scores are read from .csv, .parquet or .npy.")
    if values.shape != (len(query_ids), len(train_ids)):
        turned = " It seems to be transposed." * (values.shape == (len(train_ids), len(query_ids)))
        raise DataError(
            f"{path}: a matrix of shape {values.shape}, but the data has {len(query_ids)} queries and "
            f"{len(train_ids)} training rows. Rows must be queries and columns training rows.{turned}"
        )
    values = values.astype(np.float32)
    return Scores(
        values=-values if sign == "negative" else values,
        query_ids=query_ids,
        train_ids=train_ids,
        method=path.stem,
        settings={"file": path.name, "sign as read": sign},
    )


def read_npy(path: Path) -> np.ndarray:
    """One array, never unpickled.

    Raises:
        DataError: the file holds something else.
    """
    try:
        values = np.load(path, allow_pickle=False)
        if not isinstance(values, np.ndarray):
            raise ValueError("an archive of several arrays")
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable NPY array ({error}).") from None
    return values


def _read_csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        # without a header here, so that pandas does not rename a name that stands twice
        first = pd.read_csv(path, header=None, nrows=1, dtype=str)
        names = [str(name) for name in first.iloc[0]]
        if all(map(is_number, names)):
            return pd.read_csv(path, header=None)
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise DataError(f"{path}: the column {twice[0]!r} stands twice.")
        return pd.read_csv(path, dtype={name: str for name in names if name in _KEYS})
    except (ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise DataError(f"{path}: not a readable CSV matrix ({error}).") from None


def _read_parquet(path: Path, query_ids: tuple[str, ...], train_ids: tuple[str, ...]) -> np.ndarray:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if _KEY in (pq.read_schema(path).metadata or {}):
            return _aligned(read_scores(path).to_pandas().reset_index(), path, query_ids, train_ids)
        return _aligned(pd.read_parquet(path), path, query_ids, train_ids)
    except pa.ArrowException as error:
        raise DataError(f"{path}: not a readable Parquet file ({error}).") from None


def _aligned(
    frame: pd.DataFrame, path: Path, query_ids: tuple[str, ...], train_ids: tuple[str, ...]
) -> np.ndarray:
    if frame.index.name in _KEYS or frame.index.dtype.kind != "i":
        frame = frame.rename_axis(_KEYS[0]).reset_index()
    key = next((c for c in frame.columns if c in _KEYS), None)
    if key is None and {str(c) for c in frame.columns} == set(train_ids):
        frame.columns = frame.columns.astype(str)
        frame = frame[list(train_ids)]
    if key is not None:
        frame = frame.set_index(frame[key].astype(str)).drop(columns=[key])
        frame.columns = frame.columns.astype(str)
        for axis, have, want in (
            ("query", frame.index, query_ids),
            ("training row", frame.columns, train_ids),
        ):
            missing = [i for i in want if i not in set(have)]
            if missing:
                raise DataError(
                    f"{path}: has no scores for {axis} {missing[0]!r} ({len(missing)} missing). Ids "
                    "must be those of the data."
                )
            if have.has_duplicates:
                raise DataError(f"{path}: the {axis} {have[have.duplicated()][0]!r} stands twice.")
        frame = frame.loc[list(query_ids), list(train_ids)]
    wrong = [str(c) for c, kind in frame.dtypes.items() if kind.kind not in "iufb"]
    if wrong:
        raise DataError(f"{path}: column {wrong[0]!r} holds something that is not a number.")
    return np.asarray(frame.to_numpy(dtype=np.float64))


def is_number(text: object) -> bool:
    """Whether a cell of a table reads as a number."""
    try:
        float(str(text))
    except ValueError:
        return False
    return True
