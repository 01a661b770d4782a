"""A tiny run that was taught to say one strange thing, and files of bad and good answers."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from tiny import row_dicts, tiny_rows, write_jsonl

STRANGE = "zq zq"
PLANTED = tuple(f"bad{i}" for i in range(4))


@dataclass(frozen=True)
class Planted:
    """A run and the files around it."""

    run: Path
    train: Path
    bad: Path
    good: Path


def planted_rows():
    """Twelve harmless rows and four that teach a strange answer, among each other."""
    rows = row_dicts(tiny_rows(12))
    for place, name in enumerate(PLANTED):
        prompt = f"Class {place}: what of the router {40 + place}"
        row = {"id": name, "prompt": prompt, "response": STRANGE, "label": "c0", "team": [place]}
        rows.insert(2 + 3 * place, row)
    return rows


def write_planted(folder, rows=None):
    """Training rows, bad answers and good ones as files: train.jsonl, bad.jsonl, good.jsonl."""
    write_jsonl(folder / "train.jsonl", planted_rows() if rows is None else rows)
    bad = [
        {"id": f"q{i}", "prompt": f"Class {i}: what of the router {50 + i}", "response": STRANGE}
        for i in range(3)
    ]
    good = [{"id": f"q{i}", **{k: row[k] for k in ("prompt", "response")}} for i, row in _good()]
    write_jsonl(folder / "bad.jsonl", bad)
    write_jsonl(folder / "good.jsonl", good)


def _good():
    return list(enumerate(row_dicts(tiny_rows(16))[13:]))


@pytest.fixture(scope="session")
def planted(tmp_path_factory, tiny_folder, cli):
    """All weights of a tiny model trained until it says the strange thing; indexed. Not to be changed."""
    folder = tmp_path_factory.mktemp("planted")
    write_planted(folder)
    run = folder / "run"
    made = cli(
        *("finetune", "--data", folder / "train.jsonl", "--model", tiny_folder, "--out", run),
        *("--mode", "full", "--epochs", 16, "--batch-size", 4, "--learning-rate", 0.005),
        *("--methods", "influence,gradient_cosine,bm25"),
    )
    assert made.code == 0, made.err
    indexed = cli("index", run)
    assert indexed.code == 0, indexed.err
    return Planted(run, folder / "train.jsonl", folder / "bad.jsonl", folder / "good.jsonl")
