"""Places: where files lie, on this machine or behind any fsspec URL."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

import numpy as np

from wherefrom.errors import SettingError

if TYPE_CHECKING:
    from upath import UPath

Place: TypeAlias = "Path | UPath"
"""A local path, or one behind an fsspec URL; `/`, `exists`, `iterdir` and `read_bytes` work on both."""


def place(text: str) -> Place:
    """The place that a person named: a local path, `file://…`, or `s3://…`, `gs://…`, `memory://…`.

    Credentials come from where the file system's own package looks for them (environment, config files).

    Raises:
        SettingError: no package knows the kind of URL, or it holds a password.

    Example:
        >>> place("runs/support").name
        'support'
        >>> str(place("memory://bucket/run") / "signals")
        'memory://bucket/run/signals'
    """
    if "://" not in text:
        return Path(text)
    parts = urlsplit(text)
    if parts.password is not None:
        raise SettingError(
            f"a URL of {parts.scheme}:// with a password in it would be kept in the run's files. Leave it "
            "out, and give it where the file system's package looks for it (its environment variables)."
        )
    if parts.scheme in ("file", "local"):
        return Path(text.split("://", 1)[1])
    from upath import UPath

    try:
        found = UPath(text)
        found.fs  # noqa: B018  the package of a file system is loaded here
    except (ImportError, ValueError) as error:
        raise SettingError(
            f"{parts.scheme}://: {error}. Install the package, or use a folder."
        ) from None
    return found


def names_in(folder: Place) -> set[str]:
    """Names of what lies in a folder; of a remote one as it is now, whoever wrote there."""
    if isinstance(folder, Path):
        return set(os.listdir(folder))
    folder.fs.invalidate_cache(folder.path)
    try:
        return {name.rsplit("/", 1)[-1] for name in folder.fs.ls(folder.path, detail=False)}
    except FileNotFoundError:
        # an object store knows a folder by the objects in it
        return set()


def read_part(path: Place, start: int, into: np.ndarray) -> None:
    """Fills an array of bytes from a file.

    Args:
        path: the file.
        start: its first byte that is wanted.
        into: uint8, as long as what is wanted.

    Raises:
        ValueError: the file ends before.
    """
    if isinstance(path, Path):
        with path.open("rb", buffering=0) as handle:
            if start:
                handle.seek(start)
            got = handle.readinto(into.data)
    else:
        data = path.fs.cat_file(path.path, start=start, end=start + len(into))
        got = len(data)
        into[:got] = np.frombuffer(data, np.uint8)
    if got != len(into):
        raise ValueError(f"{path.name} is cut short")


@contextmanager
def local_copy(path: Place) -> Iterator[Path]:
    """A local file of the same content: the file itself, or a copy that lives as long as the block."""
    if isinstance(path, Path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        yield copy
