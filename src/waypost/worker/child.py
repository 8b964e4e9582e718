"""`python -m waypost.worker.child`: a worker that belongs to a server, and ends with it.

It reads one line of JSON (`Told`) from stdin, which the server holds open: its end means that the server is gone, in
whatever way. Then the worker ends as it does when it is told to.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

NICE: Final = 10
"""Requests come first."""
PARENT_CHECK_S: Final = 2.0
LONGEST_END_S: Final = 40.0


@dataclass(frozen=True, slots=True)
class Told:
    """Whose it is, and where its settings come from: as the server's own, its command line's options included."""

    parent_pid: int
    config_file: str | None = None
    options: dict[str, tuple[list[str | int], Any]] = field(default_factory=dict)
    metrics_socket: str | None = None
    """Where it tells its numbers to the server."""


def main() -> None:
    """Work until told to stop, or until the server is gone."""
    # A terminal's signals reach every process of it; the server decides what the loss of the terminal means.
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with suppress(OSError):
            os.nice(NICE)
    told = msgspec.json.decode(sys.stdin.buffer.readline(), type=Told)
    threading.Thread(target=_watch, args=(told.parent_pid,), name="server", daemon=True).start()

    from waypost.settings import read_settings
    from waypost.worker.run import run

    options = {name: (tuple(path), value) for name, (path, value) in told.options.items()}
    settings = read_settings(Path(told.config_file) if told.config_file else None, options=options).settings
    run(settings, metrics_socket=Path(told.metrics_socket) if told.metrics_socket else None)


def _watch(parent_pid: int) -> NoReturn:
    # A process that was forked off the server may hold the pipe open as well, hence the look at the parent's id.
    while os.getppid() == parent_pid:
        readable, _, _ = select.select([0], [], [], PARENT_CHECK_S)
        if readable and not os.read(0, 4096):
            break
    # Twice: there is nobody left to wait for what is under way.
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)
    time.sleep(LONGEST_END_S)
    os._exit(1)


if __name__ == "__main__":
    main()
