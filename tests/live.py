"""A small run with hostile rows, and the live page of it."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

from tiny import row_dicts, tiny_rows, write_jsonl

SCRIPT = (
    '<script>document.title="owned"</script><img src="http://example.org/x" onerror="alert(1)">'
)
REVERSED = "abc \u202egpj.exe\u202c and \u05d0\u05d1\u05d2 stay"
ESCAPES = "red \x1b[31malert\x1b]0;title\x07 \x00end"
FORMULA = '=HYPERLINK("http://example.org","x")'
LONG = "wind " * 200_000 + "THE-END"
"""A line of 1 MB."""
METHODS = "influence,gradient_dot,gradient_cosine,bm25,repsim"


def hostile_rows(long):
    """24 rows of three classes; some of them by somebody who means harm."""
    rows = row_dicts(tiny_rows(24))
    for place, row in enumerate(rows):
        row["team"] = "red" if place % 3 else "blue"
    rows[0]["prompt"] += SCRIPT
    rows[1] |= {"response": REVERSED, "label": "<b>c1</b>"}
    rows[2]["prompt"] += ESCAPES
    rows[3]["response"] = FORMULA
    rows[4]["response"] = long
    rows[7] |= {"prompt": rows[6]["prompt"], "response": rows[6]["response"]}
    return rows


def make_hostile_run(folder, tiny_folder, cli, long):
    """The rows fine-tuned on and indexed."""
    data = write_jsonl(folder / "t.jsonl", hostile_rows(long))
    out = folder / "run"
    made = cli(
        *("finetune", "--data", data, "--model", tiny_folder, "--out", out),
        *("--epochs", 2, "--rank", 2, "--max-length", 128),
    )
    assert made.code == 0, made.err
    indexed = cli("index", out, "--methods", METHODS)
    assert indexed.code == 0, indexed.err
    return out


@contextmanager
def served(run, *options):
    """The page's address, served by the command a person types, until the block ends."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "wherefrom",
            "serve",
            str(run),
            "--port",
            "0",
            "--no-open",
            *options,
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        line = process.stdout.readline()
        address = re.match(r"http://127\.0\.0\.1:\d+/", line)
        assert address, line
        yield address[0]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
