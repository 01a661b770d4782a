"""The run card: versions, hardware, seeds, timings and notes, so that a number can be traced."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from wherefrom.atomic import read_json, write_json
from wherefrom.errors import DataError
from wherefrom.world import world

_PACKAGES = ("wherefrom", "torch", "transformers", "peft", "trl", "zarr", "numpy", "scipy")


class Card:
    """What is known about how a run came to be; every change is on disk at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_file():
            try:
                self.entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise DataError(f"{path}: damaged ({error}).") from None
        else:
            self.entries = {"versions": _versions(), "hardware": _hardware(), "timings": {}}

    def reload(self) -> None:
        """Takes up what another process has written since."""
        if self.path.is_file():
            self.entries = read_json(self.path)

    def set(self, key: str, value: Any) -> None:
        """Writes one entry; of several processes only the first one writes."""
        self.entries[key] = value
        if world().first:
            write_json(self.path, self.entries)

    def note(self, text: str) -> None:
        """Adds a warning that belongs to the run, once."""
        notes = self.entries.setdefault("notes", [])
        if text not in notes:
            self.set("notes", [*notes, text])

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the seconds of a block of work to a phase."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            timings = self.entries.setdefault("timings", {})
            timings[phase] = round(timings.get(phase, 0.0) + time.perf_counter() - begun, 2)
            self.set("timings", timings)


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    commit = _commit()
    return found | ({"wherefrom commit": commit} if commit else {})


def _commit() -> str | None:
    """The commit of a source checkout; None in an installed package."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return None
    return done.stdout.strip() or None


def _hardware() -> dict[str, Any]:
    import torch

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": torch.get_num_threads(), "gpu": gpu}
