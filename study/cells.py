"""Cells: the pieces that the study is made of, each computed once and kept as a small JSON file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from wherefrom.atomic import write_text
from wherefrom.run import Card

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "study" / "cells"
WORK = ROOT / "runs" / "study"
PACKAGES = ("torch", "transformers", "peft", "trl")


@dataclass(frozen=True)
class Cell:
    """One experiment.

    Attributes:
        part: the experiment's kind: as `grid`, `masks`, `classes`.
        name: of the cell within its part.
        settings: everything that decides its numbers; JSON.
        compute: makes the numbers, given the settings and a folder to work in.
    """

    part: str
    name: str
    settings: dict[str, Any]
    compute: Callable[[dict[str, Any], Path], dict[str, Any]]

    @property
    def id(self) -> str:
        """How the cell is called on the command line."""
        return f"{self.part}/{self.name}"

    @property
    def command(self) -> str:
        """What makes this cell again, and nothing else."""
        return f"python -m study --cell {self.id}"

    def path(self, kept: Path = KEPT) -> Path:
        """Where its numbers are kept."""
        return kept / self.part / f"{self.name}.json"

    def read(self, kept: Path = KEPT) -> dict[str, Any] | None:
        """Its numbers; None where it was not computed, or under other settings."""
        path = self.path(kept)
        if not path.is_file():
            return None
        held = json.loads(path.read_text(encoding="utf-8"))
        return held if held["settings"] == self.settings else None

    def make(self, kept: Path = KEPT, work: Path = WORK) -> dict[str, Any]:
        """Computes the cell and keeps its numbers; what a killed attempt left in `work` is used."""
        folder = work / self.part / self.name
        folder.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        found = self.compute(self.settings, folder)
        held = {
            "cell": self.id,
            "command": self.command,
            "made": made(time.perf_counter() - begun),
            "settings": self.settings,
            "found": rounded(found),
        }
        path = self.path(kept)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, compact(held))
        return held


def made(seconds: float) -> dict[str, Any]:
    """When, where and with what numbers were made."""
    known = Card(WORK / "card.json").entries
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": known["versions"].get("wherefrom commit", ""),
        "seconds": round(seconds),
        "cpu": known["hardware"]["cpu"],
        "threads": known["hardware"]["threads"],
        "versions": {name: known["versions"][name] for name in PACKAGES},
    }


def rounded(value: Any, digits: int = 4) -> Any:
    """The same with every float rounded; NaN becomes None."""
    if isinstance(value, dict):
        return {key: rounded(one, digits) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one, digits) for one in value]
    if isinstance(value, np.floating):
        value = float(value)
    if isinstance(value, float):
        return round(value, digits) if value == value else None
    return value


def compact(held: dict[str, Any]) -> str:
    """JSON with one line for each method, so that a change shows as one."""
    lines = []
    for key, value in held.items():
        if key != "found":
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
            continue
        parts = []
        for name, part in value.items():
            if isinstance(part, dict) and part:
                inner = ",\n".join(
                    f"{json.dumps(k, ensure_ascii=False)}: {json.dumps(v, ensure_ascii=False)}"
                    for k, v in part.items()
                )
                parts.append(f"{json.dumps(name)}: {{\n{inner}}}")
            else:
                parts.append(f"{json.dumps(name)}: {json.dumps(part, ensure_ascii=False)}")
        lines.append('"found": {\n' + ",\n".join(parts) + "\n}")
    return "{\n" + ",\n".join(lines) + "\n}\n"
