"""Runs the commands of the quickstart on the embedded model and puts what they print into the page.

    python docs/_site/make_quickstart.py

Blocks that `<!-- real -->` stands above are made anew, in order, in an empty folder; nothing else of the
page is touched. Of a block under `<!-- real, from: TEXT -->` the paragraph is kept that begins so, and what
was left out is marked by `…`. It takes some minutes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parents[1]
_REAL = re.compile(
    r"(?P<head><!-- real(?:, from: (?P<begin>.+?))? -->\n```console\n)(?P<block>.*?)```", re.DOTALL
)


def main() -> None:
    """Makes the page anew; a command that fails ends it and leaves the page as it was."""
    page = DOCS / "quickstart.md"
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(DOCS / "examples" / "support.jsonl", folder)
        text = _REAL.sub(
            lambda match: f"{match['head']}{_made(match['block'], match['begin'], folder)}```",
            page.read_text(encoding="utf-8"),
        )
    page.write_text(text, encoding="utf-8")


def _made(block: str, begin: str | None, folder: str) -> str:
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "\n".join(f"{line}\n{_part(_output(line[2:], folder), begin)}" for line in commands)


def _part(output: str, begin: str | None) -> str:
    if begin is None:
        return output
    for paragraph in output.split("\n\n"):
        if paragraph.startswith(begin):
            return f"…\n{paragraph.rstrip()}\n…\n"
    raise SystemExit(f"no paragraph of the output begins with {begin!r}:\n{output}")


def _output(command: str, folder: str) -> str:
    print(f"$ {command}", flush=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # the commands are those of our own page
    done = subprocess.run(  # noqa: S603
        ["bash", "-c", command],  # noqa: S607
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "150"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


if __name__ == "__main__":
    main()
