"""The one worker process that a server runs beside it: started when there is something for it, and kept alive.

It has no thread and waits for nothing: `turn` is called about once a second. Nothing of the worker is imported here.
The invariant: the worker ends with its server, however that ends.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from waypost.settings import Settings
from waypost.store import SQLITE_FILE

MODULE: Final = "waypost.worker.child"
JOURNAL: Final = "journal"
TURN_S: Final = 1.0
STEADY_S: Final = 5.0
"""One that lived so long is started anew at once; one that did not, after a growing wait."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
LONGEST_END_S: Final = 30.0
"""How long its end may take before it is killed."""
logger = logging.getLogger("waypost.server")


class WorkerKeeper:
    """`settings` are those in force; `file` and `options` are where the worker reads its own from."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        file: Path | None,
        options: Mapping[str, tuple[tuple[str | int, ...], Any]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self.metrics_socket: Path | None = None
        """Where it is to tell its numbers; for whoever serves."""
        self._told = {"config_file": None if file is None else str(file.absolute()), "options": dict(options)}
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._early_ends = 0
        self._is_renewed = False
        self._is_ending = False

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return None if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        """Is there one?"""
        return self._process is not None and self._process.poll() is None

    def turn(self) -> None:
        """Start it if it is wanted, start it anew if it has ended."""
        if self._process is not None and not self.is_running:
            self._ended(self._process)
        if self._process is None and not self._is_ending and self._clock() >= self._start_at and self._is_wanted():
            self._start()

    def renew(self) -> None:
        """The settings are others: it ends in good order, and is started anew."""
        if self.is_running:
            self._is_renewed = True
            self._send(signal.SIGTERM)

    def end(self) -> None:
        """Tell it to end; it is not started any more."""
        if not self._is_ending:
            self._is_ending = True
            self._send(signal.SIGTERM)

    def wait(self, limit_s: float = LONGEST_END_S) -> None:
        """Wait until it has ended, and kill it if it has not by then. Blocks."""
        if self._process is not None:
            try:
                self._process.wait(limit_s)
            except subprocess.TimeoutExpired:
                logger.warning("the worker process %d does not end; it is killed", self._process.pid)
            self.kill()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            _close(process)

    def leave_to_parent(self) -> None:
        """In a process that was forked off: the worker is not its own, and must not be kept alive by it."""
        process, self._process = self._process, None
        if process is not None:
            _close(process)
            process.returncode = 0

    def _is_wanted(self) -> bool:
        settings = self._settings()
        if not (settings.jobs.enabled and settings.jobs.worker):
            return False
        return _database_is_there(settings) or _holds_anything(settings.data_dir / JOURNAL)

    def _start(self) -> None:
        self._started_at = self._clock()
        self._process = subprocess.Popen([sys.executable, "-m", MODULE], stdin=subprocess.PIPE)  # noqa: S603 - our own
        address = None if self.metrics_socket is None else str(self.metrics_socket)
        line = msgspec.json.encode({"parent_pid": os.getpid(), **self._told, "metrics_socket": address}) + b"\n"
        # A pipe takes so little without anybody reading; it stays open, and its end says that this process is gone.
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(line)
                self._process.stdin.flush()

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        self._process = None
        _close(process)
        if self._is_ending or self._is_renewed:
            self._is_renewed = False
            return
        lived_s = self._clock() - self._started_at
        self._early_ends = 0 if lived_s >= STEADY_S else self._early_ends + 1
        wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (self._early_ends - 1)) if self._early_ends else 0.0
        code = process.returncode
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        logger.error("the worker (process %d) ended %s; it is started anew in %g s", process.pid, how, wait_s)
        self._start_at = self._clock() + wait_s

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)


@contextmanager
def kept(keeper: WorkerKeeper | None, is_ending: Callable[[], bool]) -> Iterator[Callable[[], None]]:
    """Inside the block a thread keeps the worker, from when what this gives is called until the server ends."""
    if keeper is None:
        yield lambda: None
        return
    over = threading.Event()

    def keep() -> None:
        while not over.wait(TURN_S):
            if is_ending():
                keeper.end()
            keeper.turn()

    thread = threading.Thread(target=keep, name="worker", daemon=True)
    try:
        yield thread.start
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()
        keeper.end()
        keeper.wait()


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()


def _database_is_there(settings: Settings) -> bool:
    """Only an SQLite file may be missing. Without SQLAlchemy, which this process may never need."""
    if settings.database_url is None:
        return (settings.data_dir / SQLITE_FILE).exists()
    scheme, _, place = settings.database_url.get_secret_value().partition("://")
    return not scheme.startswith("sqlite") or (settings.data_dir / place.removeprefix("/")).exists()


def _holds_anything(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
