"""The task `paper:FOLDER`: data in the shape of the founding paper's release."""

from __future__ import annotations

from pathlib import Path

from wherefrom.data import Example, read_examples
from wherefrom.errors import DataError, SettingError
from wherefrom.tasks._answer import agrees
from wherefrom.tasks._task import Task, TaskSize, per_class, task

_ENDINGS = (".jsonl", ".csv", ".json", ".parquet")


def _file(folder: Path, part: str) -> Path:
    found = [folder / f"{part}{ending}" for ending in _ENDINGS]
    found = [path for path in found if path.is_file()]
    # `datasets.save_to_disk` writes folders; the paper's own are called NAME_train.hf
    saved = [folder / part, *sorted(folder.glob(f"*_{part}.hf"))]
    found += [path for path in saved if path.is_dir()]
    if not found:
        raise DataError(
            f"{folder} has no {part}.jsonl (nor .csv, .json, .parquet, nor a saved data set {part}/ or "
            f"NAME_{part}.hf/). Put one there, with the columns prompts, response and variation."
        )
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise DataError(f"{folder} has {names}; keep the one that is meant.")
    return found[0]


def _rows(folder: Path, part: str) -> list[Example]:
    path = _file(folder, part)
    rows = read_examples(path, shape="paper")
    if not rows:
        raise DataError(f"{path} holds no rows. Give it at least one.")
    for row in rows:
        if not (row.label or "").strip():
            raise DataError(
                f"{folder.name}/{row.source}: no class. Fill the column 'variation' in that row."
            )
    return rows


@task("paper")
def paper(size: TaskSize, seed: int, argument: str) -> Task:
    """Data of the founding paper, or your own in its shape: paper:FOLDER with train and test files.

    The folder holds `train.jsonl` and `test.jsonl` (or `.csv`, `.parquet`, `.json` with a list, or
    folders that `datasets.save_to_disk` wrote: `train`, `test`, or `NAME_train.hf`, `NAME_test.hf`)
    with the columns `prompts`, `response` and `variation`, the class (arXiv 2409.19998). A size keeps at
    most that many rows of each class.

    Raises:
        SettingError: no folder is named, or a class of the test file has no training row.
        DataError: a file is missing, empty or broken; file and row are named.
    """
    if not argument:
        raise SettingError("task paper needs a folder. Write paper:FOLDER.")
    folder = Path(argument).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder. Write paper:FOLDER with train and test files.")
    train = per_class(_rows(folder, "train"), size.train_per_class, seed)
    queries = per_class(_rows(folder, "test"), size.queries_per_class, seed)
    longest = max(len(query.response.split()) for query in queries)
    return Task(
        name=f"paper:{argument}",
        train=train,
        queries=queries,
        behaves=agrees,
        about=(
            f"Rows of {folder.name}. Relevant are the training rows of the query's class, "
            "the column `variation`."
        ),
        # About two tokens a word, numbers more; the paper cuts rows at 128 tokens.
        max_new_tokens=min(128, 8 + 3 * longest),
    )
