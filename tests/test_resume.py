"""Killed in the middle, the same command goes on where it stopped and ends in the same bytes."""

import shutil
import signal
import subprocess
import sys
import time

import pytest

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.errors import StoreError
from wherefrom.store import SignalStore

ROWS, CHUNKS = 200, 16
SIGNALS = "signals/sound-1/final/train"
STORES = ("gradient.zarr", "gradient-sampled.zarr", "hidden-states.zarr", "kronecker-factors")


def start(*arguments):
    command = [sys.executable, "-m", "wherefrom", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # tests that a shell started in the background inherit that interrupts are ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(child, timeout=120):
    out, err = child.communicate(timeout=timeout)
    return child.returncode, out, err


def wait_until(happened, child, timeout=60):
    """Polls until something is there, and fails if the child ends or the time is over first."""
    end = time.monotonic() + timeout
    while not happened():
        assert child.poll() is None, f"ended too soon: {finish(child)}"
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.002)


@pytest.fixture
def children():
    """Child processes that are ended whatever the test comes to."""
    started = []
    yield started
    for child in started:
        if child.poll() is None:
            child.kill()
        child.wait()


def markers(folder):
    done = folder / SIGNALS / "gradient.zarr" / "done"
    return {p.name: p.stat().st_mtime_ns for p in done.glob("0*")} if done.is_dir() else {}


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_index_that_was_killed_resumes_and_ends_in_the_same_bytes(
    tmp_path, tiny_folder, cli, children
):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(ROWS)))
    store = f"{SIGNALS}/gradient.zarr"

    def command(run):
        options = ["--model", tiny_folder, "--methods", "gradient_dot,repsim,ekfac"]
        # one row a batch, so that there is time to be killed
        return ["index", tmp_path / run, "--data", data, *options, "--batch-tokens", 1]

    children.append(start(*command("stopped")))
    wait_until(lambda: len(markers(tmp_path / "stopped")) >= 2, children[0])
    children[0].kill()
    assert finish(children[0])[0] == -signal.SIGKILL
    kept = markers(tmp_path / "stopped")
    assert 2 <= len(kept) < CHUNKS
    with pytest.raises(StoreError, match=rf"only {len(kept)} of {CHUNKS} chunks are done"):
        SignalStore.open(tmp_path / "stopped" / store)

    children.append(start(*command("stopped")))
    undisturbed = cli(*command("undisturbed"))
    assert undisturbed.code == 0, undisturbed
    code, out, err = finish(children[1])
    assert (code, out) == (0, ""), err
    now = markers(tmp_path / "stopped")
    assert len(now) == CHUNKS
    assert {name: now[name] for name in kept} == kept

    for name in STORES:
        one, other = (
            contents(tmp_path / run / SIGNALS / name) for run in ("undisturbed", "stopped")
        )
        assert one
        assert one.keys() == other.keys()
        assert [str(file) for file in one if one[file] != other[file]] == []
    read = SignalStore.open(tmp_path / "stopped" / store)
    assert len(read.ids) == ROWS
    assert all(read.read(array).any() for array in read.names())


def tune(data, model, out, epochs):
    return [
        *("finetune", "--data", data, "--out", out, "--model", model),
        *("--rank", 1, "--epochs", epochs, "--methods", "gradient_dot"),
    ]


def test_a_fine_tune_that_was_interrupted_ends_quietly_and_leaves_no_scratch(
    tmp_path, tiny_folder, children
):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(16)))
    run = tmp_path / "run"
    children.append(start(*tune(data, tiny_folder, run, 5000)))
    wait_until(lambda: list(run.glob(".trajectory.*/step-000004")), children[0])
    children[0].send_signal(signal.SIGINT)
    code, out, err = finish(children[0])
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert {path.name for path in run.iterdir()} == {".wherefrom", "card.json", "data", "run.yaml"}


def test_what_a_killed_fine_tune_leaves_does_not_block_the_next(tmp_path, tiny_folder, cli):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(16)))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    made = cli(*tune(data, tiny_folder, whole, 2))
    assert made.code == 0, made
    shutil.copytree(whole, killed)
    shutil.rmtree(killed / "adapter")
    (killed / "trajectory").rename(killed / ".trajectory.0badcafe.partial")
    again = cli(*tune(data, tiny_folder, killed, 2))
    assert again.code == 0, again
    assert "fine-tune: 1/" in again.err
    for name in ("adapter", "trajectory"):
        assert contents(killed / name) == contents(whole / name)
