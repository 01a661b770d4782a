"""Shell completion: what bash, zsh and fish are told, by the protocol that the installed script speaks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wherefrom.methods import registered
from wherefrom.tasks import list_tasks

SCRIPT = Path(sys.executable).with_name("wherefrom")


def offered(line):
    """What bash is offered for the last word of a line."""
    words = line.split(" ")
    done = subprocess.run(
        [SCRIPT],
        env={
            **os.environ,
            "_WHEREFROM_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wherefrom tr", {"trace"}),
        ("wherefrom list me", {"methods", "metrics"}),
        ("wherefrom check runs/demo --verif", {"--verify"}),
        ("wherefrom study gram", {"grammars"}),
        ("wherefrom study emotion --recipe sound-1,pa", {"sound-1,paper-1"}),
        ("wherefrom check runs/demo --method gradient_d", {"gradient_dot"}),
        ("wherefrom study emotion --methods bm25,gradient_c", {"bm25,gradient_cosine"}),
    ],
)
def test_bash_is_offered_what_fits(line, expected):
    assert set(offered(line)) == expected


def test_all_values_are_offered_where_nothing_is_typed():
    assert set(offered("wherefrom study ")) == set(list_tasks())
    assert set(offered("wherefrom study emotion --methods ")) == {
        *registered(),
        *("all", "fast", "paper"),
    }


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_asks_this_program(shell):
    done = subprocess.run(
        [SCRIPT],
        env={**os.environ, "_WHEREFROM_COMPLETE": f"source_{shell}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"_WHEREFROM_COMPLETE=complete_{shell}" in done.stdout
