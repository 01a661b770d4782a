"""One whole process measured from outside: wall and CPU seconds, peak memory."""

import json
import os
import signal
import subprocess
import threading
import time

import psutil

PERIOD = 0.5


def run(command, out, environment, limit):
    """Runs a command to its end, its output going to OUT/log.

    Returns:
        Seconds and bytes, what the script itself noted in OUT/clock.json, and `error` where it failed.
    """
    out.mkdir(parents=True)
    started = time.time()
    with (out / "log").open("w") as log:
        child = subprocess.Popen(
            [str(part) for part in command],
            cwd=out,
            env=environment | {"PEERS_STARTED": repr(started)},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        watch = _Watch(child.pid, started + limit)
        watch.start()
        # the CPU time of children that it waited for is in it
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    watch.stop.set()
    watch.join()
    found = {
        "wall": time.time() - started,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": max(used.ru_maxrss * 1024, watch.peak),
        "error": None,
    }
    clock = out / "clock.json"
    if child.returncode == 0 and clock.is_file():
        found |= json.loads(clock.read_text())
        more = found["extrapolated"] or {"wall": 0, "cpu": 0}
        found["wall"] += more["wall"]
        found["cpu"] += more["cpu"]
    else:
        lines = [line for line in (out / "log").read_text().splitlines() if line.strip()]
        late = f"stopped after {limit:.0f} s; " if watch.late else ""
        found["error"] = f"{late}exit {child.returncode}: {lines[-1] if lines else 'no output'}"
    return found


class _Watch(threading.Thread):
    """Memory of a process and its children together, and the end of one that takes too long."""

    def __init__(self, pid, deadline):
        super().__init__(daemon=True)
        self.pid, self.deadline = pid, deadline
        self.stop, self.peak, self.late = threading.Event(), 0, False

    def run(self):
        while not self.stop.wait(PERIOD):
            try:
                first = psutil.Process(self.pid)
                family = [first, *first.children(recursive=True)]
                # what processes share counts once; for a single one the kernel keeps its own peak
                if len(family) > 1:
                    self.peak = max(self.peak, sum(p.memory_full_info().pss for p in family))
            except psutil.Error:
                continue
            if time.time() > self.deadline and not self.late:
                self.late = True
                os.killpg(self.pid, signal.SIGKILL)
