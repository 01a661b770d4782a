import gc
import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from unittest.mock import patch

# nothing here may reach for the hub; threads cost tiny matrices far more than they save, and on a
# busy machine they wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")

import hypothesis
import pytest

from browser import chromium as chromium
from planted import planted as planted
from tiny import save_tiny

# how long an example takes says nothing where two cores are shared
hypothesis.settings.register_profile(
    "shared", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("shared")


LONGEST = (
    *("test_check_edge_cases.py", "test_notebooks.py", "test_study.py", "test_conformance.py"),
    *("test_embedded.py", "test_counterfactual_run.py", "test_many_workers.py", "test_resume.py"),
)
"""Files that take a minute or more: begun last, one of them would run while other workers idle."""


def pytest_collection_modifyitems(items):
    """Long files first; the order of all others stays."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_configure(config):
    """Spares collections what importing made: half a million objects, and every fine-tune asks for two."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        from trl import SFTTrainer  # noqa: F401

        gc.collect()
        gc.freeze()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """A tiny llama with a chat template, as a folder for --model."""
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-llama")


@dataclass
class Called:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def cli():
    """Runs one command line in this process, through the very entry point of the script."""

    def call(*arguments) -> Called:
        from wherefrom.cli import main

        out, err, code = io.StringIO(), io.StringIO(), 0
        argv = ["wherefrom", *map(str, arguments)]
        with patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                code = 0 if stop.code is None else int(stop.code)
        return Called(code, out.getvalue(), err.getvalue())

    return call
