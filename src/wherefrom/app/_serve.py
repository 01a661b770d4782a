"""Serving: a run on loopback until somebody stops it."""

from __future__ import annotations

import errno
import socket
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from wherefrom.errors import SettingError
from wherefrom.progress import say
from wherefrom.run import WarmRun

if TYPE_CHECKING:
    from wherefrom.app._desk import Desk
    from wherefrom.app._thread import ModelThread

HOST = "127.0.0.1"
PORT = 7860


def serve(path: Path, port: int = PORT, *, open_browser: bool = True) -> None:
    """Serves the live page of a run until it is interrupted. Only this machine can reach it.

    Args:
        path: the run folder, indexed.
        port: of 127.0.0.1; 0 takes any that is free.
        open_browser: open the page in the default browser.

    Raises:
        SettingError: the extra `page` is not installed, the port is taken, or the run cannot answer.
    """
    require_extra()
    run = WarmRun.open(path)
    with listening(port) as found:
        address = f"http://{HOST}:{found.getsockname()[1]}/"
        desk, thread = warmed(run)
        print(f"{address}   (Ctrl-C stops it)", flush=True)
        if open_browser:
            Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        run_server(desk, thread, found)


def require_extra() -> None:
    """Refuses to go on without what the page is served with.

    Raises:
        SettingError: the extra `page` is not installed.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise SettingError(
            f"the live page needs {' and '.join(missing)}: pip install 'wherefrom[page]'."
        )


def warmed(run: WarmRun) -> tuple[Desk, ModelThread]:
    """The desk of a run with everything in memory that the first question needs; says how long it took."""
    from wherefrom.app._desk import Desk
    from wherefrom.app._thread import ModelThread

    begun = time.perf_counter()
    thread = ModelThread()
    thread.wait_for(lambda: run.model)
    loaded = time.perf_counter()
    say(f"model: {run.config.model} in {loaded - begun:.1f} s")
    desk = thread.wait_for(lambda: Desk(run))
    thread.wait_for(lambda: run.warm_up(desk.leading))
    say(
        f"index: {len(run.train):,} rows warm in {time.perf_counter() - loaded:.1f} s "
        f"({run.room.used / 1e9:.2f} GB of memory)"
    )
    return desk, thread


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """A socket that listens on loopback.

    Raises:
        SettingError: something else listens there, or one may not.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, port))
            found.listen(64)
        except (OSError, OverflowError) as error:
            taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
            why = "is in use" if taken else f"cannot be listened on ({error})"
            raise SettingError(
                f"port {port} {why}; give another one, as --port {PORT + 1}, or --port 0 for any."
            ) from None
        yield found
    finally:
        found.close()


def run_server(desk: Desk, thread: ModelThread, where: socket.socket) -> None:
    """Answers requests until interrupted.

    Raises:
        SettingError: the extra `page` is not installed.
    """
    require_extra()
    import uvicorn

    from wherefrom.app._pages import make_app

    config = uvicorn.Config(
        make_app(desk, thread),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    try:
        uvicorn.Server(config).run(sockets=[where])
    except KeyboardInterrupt:
        # how a server is meant to end
        pass
    finally:
        thread.close()
