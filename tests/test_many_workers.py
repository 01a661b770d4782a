"""Several processes share a pass: forked on one machine, or started by torchrun."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tiny import row_dicts, tiny_rows, write_jsonl
from wherefrom.capture import _workers
from wherefrom.errors import NonFiniteError, SettingError, WorkerError
from wherefrom.run import Run, make_config
from wherefrom.store import SignalStore, read_factors

METHODS = "gradient_dot,repsim,ekfac"
SIGNALS = "signals/sound-1/final"
STORES = ("gradient", "gradient-sampled", "hidden-states")


@pytest.fixture
def command(tmp_path, tiny_folder):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(90)))
    queries = write_jsonl(tmp_path / "q.jsonl", row_dicts(tiny_rows(20)))

    def of(run, *options):
        made = ["--data", data, "--queries", queries, "--model", tiny_folder, "--methods", METHODS]
        return [str(part) for part in ("index", tmp_path / run, *made, *options)]

    return of


@pytest.fixture
def one_thread():
    """Sums of products depend on the number of threads in their last digits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def launch(processes, arguments, **environment):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    port = ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
    return subprocess.Popen(
        [*launcher, *port, "-m", "wherefrom", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        start_new_session=True,
    )


def same_signals(one, other):
    for side in ("train", "queries"):
        for name in STORES if side == "train" else ("gradient", "hidden-states"):
            left, right = (
                SignalStore.open(run / SIGNALS / side / f"{name}.zarr") for run in (one, other)
            )
            assert left.names() == right.names()
            for array in left.names():
                np.testing.assert_array_equal(left.read(array), right.read(array))
    left, right = (read_factors(run / SIGNALS / "train/kronecker-factors") for run in (one, other))
    assert left.rows == right.rows
    assert left.tokens == right.tokens
    for block, factors in left.sums.items():
        for a, b in zip(factors, right.sums[block], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14 * abs(a).max())


def test_forked_workers_leave_what_one_process_leaves(tmp_path, command, cli, one_thread):
    assert cli(*command("alone", "--workers", 1)).code == 0
    found = cli(*command("forked", "--workers", 3))
    assert found.code == 0, found.err
    assert "90/90" in found.err
    same_signals(tmp_path / "alone", tmp_path / "forked")


def test_launched_processes_share_the_pass_and_one_that_dies_can_be_made_up_for(
    tmp_path, command, cli, one_thread
):
    assert cli(*command("alone", "--workers", 1)).code == 0

    both = launch(2, command("shared"))
    out, err = both.communicate(timeout=120)
    assert both.returncode == 0, err
    assert out == ""
    assert err.count("plan:") == 1, "only the first process speaks"
    same_signals(tmp_path / "alone", tmp_path / "shared")

    dying = launch(2, command("dying", "--batch-tokens", 1))
    done = tmp_path / "dying" / SIGNALS / "train" / "gradient.zarr" / "done"
    end = time.monotonic() + 60
    while not done.is_dir() or len(list(done.iterdir())) < 2:
        assert dying.poll() is None, dying.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)
    os.kill(last_rank(dying.pid), signal.SIGKILL)
    out, err = dying.communicate(timeout=120)
    assert dying.returncode != 0
    kept = {path.name: path.stat().st_mtime_ns for path in done.iterdir()}
    assert 2 <= len(kept) < 6
    # another number of processes takes it up
    found = cli(*command("dying", "--batch-tokens", 1))
    assert found.code == 0, found.err
    assert {name: (done / name).stat().st_mtime_ns for name in kept} == kept
    assert cli(*command("undisturbed", "--batch-tokens", 1)).code == 0
    same_signals(tmp_path / "undisturbed", tmp_path / "dying")


def last_rank(parent):
    """The process of rank 1 below a launcher."""
    for folder in os.listdir("/proc"):
        if folder.isdigit():
            try:
                environment = Path(f"/proc/{folder}/environ").read_bytes().split(b"\0")
                about = Path(f"/proc/{folder}/stat").read_text()
            except OSError:
                continue
            above = int(about.rpartition(")")[2].split()[1])
            if above == parent and b"RANK=1" in environment:
                return int(folder)
    raise AssertionError("no second process")


def test_several_processes_do_not_fine_tune(tmp_path, tiny_folder):
    data = write_jsonl(tmp_path / "t.jsonl", row_dicts(tiny_rows(8)))
    config = make_config("test", model=str(tiny_folder), data=str(data), finetune={"epochs": 1})
    run = Run.create(tmp_path / "run", config)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORLD_SIZE", "2")
        patch.setenv("RANK", "0")
        with pytest.raises(SettingError, match="Fine-tune in one process first"):
            run.finetune()


def test_what_a_worker_raises_is_raised_and_the_others_end():
    begun = time.monotonic()

    def fail():
        raise NonFiniteError("row 'x': NaN")

    with pytest.raises(NonFiniteError, match="row 'x'"):
        _workers.fork_workers([fail, lambda: time.sleep(600)], lambda: None)
    assert time.monotonic() - begun < 300


def test_a_worker_that_is_killed_is_told_of():
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"signal 9 [(]out of memory"):
        _workers.fork_workers([die], lambda: None)
    with pytest.raises(WorkerError, match="ZeroDivisionError"):
        _workers.fork_workers([lambda: 1 / 0], lambda: None)


def test_workers_end_with_the_process_that_forked_them(tmp_path):
    script = """
import os, sys, time
from wherefrom.capture._workers import fork_workers
def work():
    open(sys.argv[1], "w").write(str(os.getpid()))
    time.sleep(600)
fork_workers([work], lambda: None)
"""
    noted = tmp_path / "pid"
    child = subprocess.Popen([sys.executable, "-c", script, str(noted)])
    end = time.monotonic() + 60
    while not noted.exists() or not noted.read_text():
        assert time.monotonic() < end
        time.sleep(0.01)
    child.kill()
    child.wait()
    worker = int(noted.read_text())
    while os.path.exists(f"/proc/{worker}"):
        state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        assert time.monotonic() < end
        time.sleep(0.01)
