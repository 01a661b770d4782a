"""Workers: on a CPU several one-thread processes get more done than one process of several threads."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

import torch

from wherefrom.errors import WherefromError, WorkerError

_LOOK = 1.0
"""Seconds between two looks at how far the workers are."""


def can_fork(model: Any) -> bool:
    """Whether a model can be run by forked processes: on Linux, with all its weights on the CPU.

    A forked process shares the weights; it neither loads nor copies them.
    """
    # a process that has talked to an accelerator cannot be forked
    if sys.platform != "linux" or torch.cuda.is_available():
        return False
    return all(parameter.device.type == "cpu" for parameter in model.parameters())


def fork_workers(work: Sequence[Callable[[], None]], watch: Callable[[], None]) -> None:
    """Runs each piece of work in a forked process with one thread, and waits for all of them.

    Args:
        work: what each process does.
        watch: called about once a second meanwhile, and once when all are done.

    Raises:
        WherefromError: what a worker raised; the others are stopped.
        WorkerError: a worker died, or failed in another way.
    """
    context = multiprocessing.get_context("fork")
    parent = os.getpid()
    running: dict[int, tuple[Any, Connection]] = {}
    try:
        for piece in work:
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_child, args=(piece, sender, parent), daemon=True)
            process.start()
            sender.close()
            running[process.sentinel] = (process, receiver)
        while running:
            for done in wait(list(running), _LOOK):
                assert isinstance(done, int)
                process, receiver = running.pop(done)
                process.join()
                _raise_failure(process.exitcode, receiver)
            watch()
    finally:
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()


def _child(piece: Callable[[], None], sender: Connection, parent: int) -> None:
    # Ctrl-C reaches the whole group: the parent stops its workers itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    _die_with(parent)
    try:
        piece()
    except WherefromError as error:
        sender.send(error)
        sys.exit(1)
    except BaseException:
        sender.send(WorkerError(f"a worker failed:\n{traceback.format_exc()}"))
        sys.exit(1)


def _die_with(parent: int) -> None:
    """Asks the kernel to end this process when its parent ends, however that comes about."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _raise_failure(status: int | None, receiver: Connection) -> None:
    with receiver:
        if status == 0:
            return
        if receiver.poll():
            try:
                error = receiver.recv()
            except EOFError:
                error = None
            if error is not None:
                raise error
    reason = f"signal {-status}" if status is not None and status < 0 else f"status {status}"
    raise WorkerError(
        f"a worker was ended by {reason}"
        + (" (out of memory?)" if status == -signal.SIGKILL else "")
        + "; what is done is kept. Run the same command again, with --workers 1 if memory is short."
    )
