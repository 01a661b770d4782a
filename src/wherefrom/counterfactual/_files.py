"""Retrainings on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from wherefrom.atomic import atomic_path
from wherefrom.errors import DataError
from wherefrom.metrics import Retrainings

_KEY = "wherefrom.retrainings"


def write_retrainings(retrainings: Retrainings, path: Path, outcome: str) -> None:
    """Writes subsets, outcomes and ids into one safetensors file."""
    arrays = {"kept": retrainings.kept.astype(np.uint8), "outcomes": retrainings.outcomes}
    about = {
        "query_ids": retrainings.query_ids,
        "train_ids": retrainings.train_ids,
        "outcome": outcome,
    }
    with atomic_path(path) as temporary:
        # one entry: several are written in no fixed order
        save_file(arrays, temporary, metadata={_KEY: json.dumps(about)})


def read_retrainings(path: Path) -> Retrainings:
    """Reads what `write_retrainings` wrote.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as held:
            about = json.loads(held.metadata()[_KEY])
            return Retrainings(
                held.get_tensor("kept").astype(bool),
                held.get_tensor("outcomes"),
                tuple(about["query_ids"]),
                tuple(about["train_ids"]),
            )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: missing, or no retrainings of ours ({error}).") from None


def read_outcome(path: Path) -> str | None:
    """Which outcome a file of `write_retrainings` holds; None where it does not say.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as held:
            found = json.loads(held.metadata()[_KEY]).get("outcome")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: missing, or no retrainings of ours ({error}).") from None
    return found if isinstance(found, str) else None
