"""Several worker processes at one port: starts them, starts anew whichever ends, and passes on what it is told.

It serves nothing itself and runs no event loop and no thread, so that it can fork at any time; all that workers need is
imported before. The invariant: workers change their settings together, and none outlives the supervisor for long.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import selectors
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final, NoReturn

from waypost.errors import ConfigurationError
from waypost.server.application import ServedApplication
from waypost.server.hangup import Hangup
from waypost.server.listen import listen, url_of
from waypost.server.logs import configure_logging
from waypost.server.peers import Neighbourhood, private_folder
from waypost.server.run import may_be_exposed
from waypost.server.scrapes import JOBS_SOCKET
from waypost.server.serving import Serving, SettingsSource
from waypost.server.worker import DRAIN, END_GRACE, READY, RELOAD, RELOADED, Workplace, longest_end_s, work
from waypost.server.worker_keeper import TURN_S, WorkerKeeper
from waypost.settings import Settings

logger = logging.getLogger("waypost.server")
HEEDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
NEEDED: Final = ("aiohttp", "httptools", "uvloop", "uvicorn.lifespan.on", "uvicorn.loops.uvloop")
"""What each worker would import at its start or at its first request."""
STEADY_S: Final = 5.0
"""A worker that lived so long is started anew at once; one that did not, after a growing wait."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
# Measured with 400 connections made at once and two workers: one socket for all left 67 to 15 of them to one worker,
# a socket for each 191. Only Linux shares connections out among sockets at one port.
SOCKET_EACH: Final = sys.platform == "linux"


@dataclass(slots=True)
class _Worker:
    """One worker's place, with a process in it or, until `start_at`, without."""

    number: int
    sockets: list[socket.socket]
    pid: int | None = None
    link: socket.socket | None = None
    started_at: float = 0.0
    start_at: float | None = None
    early_ends: int = 0
    was_ready: bool = False


def supervise(source: SettingsSource, on_started: Callable[[str], None], worker: WorkerKeeper | None = None) -> None:
    """Serve with the workers that the settings ask for, until a signal, as `run.run` does with one.

    `on_started` gets the URL once every worker answers; from then on `worker` keeps the one that does jobs.
    Blocks; call it in the main thread of a process without others. Raises ConfigurationError: wrong settings, a busy
    port, or a worker that cannot start.
    """
    loaded = source.read()
    application = source.build(loaded.settings).application
    configure_logging(loaded.settings)
    for name in NEEDED:
        import_module(name)
    Supervisor(source, application, loaded.file, on_started, worker).run()


class Supervisor:
    """`application` is what workers to be started begin with: that of the last settings that were good."""

    def __init__(
        self,
        source: SettingsSource,
        application: ServedApplication,
        file: Path | None,
        on_started: Callable[[str], None],
        keeper: WorkerKeeper | None = None,
    ) -> None:
        self._keeper = keeper
        """Of the process that does jobs, beside those that serve."""
        self._source = source
        self._application = application
        self._file = file
        self._on_started = on_started
        self._signals, self._signal_writer = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._folder = private_folder()
        if keeper is not None:
            keeper.metrics_socket = self._folder / JOBS_SOCKET
        self._token = secrets.token_hex(32)
        self._workers: list[_Worker] = []
        self._hangup = Hangup.at_start()
        self._told_to_end = 0
        self._kill_at = float("inf")
        self._url = ""
        self._has_keys = False
        self._announced = False

    @property
    def _settings(self) -> Settings:
        return self._application.settings

    def run(self) -> None:
        """Until every worker has ended. Raises ConfigurationError if one cannot start."""
        try:
            self._workers = [_Worker(number, sockets) for number, sockets in enumerate(self._listen(), 1)]
            with self._heeding():
                gc.collect()
                # What is there now is never freed: workers then share its memory for longer.
                gc.freeze()
                for worker in self._workers:
                    self._start(worker)
                while self._is_anybody_there():
                    self._turn()
        finally:
            if self._keeper is not None:
                self._keeper.kill()
            for worker in self._workers:
                if worker.pid is not None:
                    os.kill(worker.pid, signal.SIGKILL)
            shutil.rmtree(self._folder, ignore_errors=True)

    def _is_anybody_there(self) -> bool:
        if any(worker.pid or worker.start_at is not None for worker in self._workers):
            return True
        return self._keeper is not None and self._keeper.is_running

    def _listen(self) -> list[list[socket.socket]]:
        """Each worker's sockets, all at one port."""
        server = self._settings.server
        self._has_keys = may_be_exposed(self._application, server.host)
        first = listen(server.host, server.port, has_keys=self._has_keys)
        self._url = url_of(first)
        if not SOCKET_EACH:
            return [first] * server.workers
        # The first socket proved that nobody else is there, which those that others may listen beside do not.
        self._port = first[0].getsockname()[1]
        for each in first:
            each.close()
        return [self._listen_beside() for _ in range(server.workers)]

    def _listen_beside(self) -> list[socket.socket]:
        return listen(self._settings.server.host, self._port, has_keys=self._has_keys, beside=True)

    @contextmanager
    def _heeding(self) -> Iterator[None]:
        """Signals become bytes to be read in turn."""
        for each in (self._signals, self._signal_writer):
            each.setblocking(False)
        self._selector.register(self._signals, selectors.EVENT_READ)
        before = {number: signal.signal(number, lambda *_: None) for number in HEEDED}
        writer = signal.set_wakeup_fd(self._signal_writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(writer)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _turn(self) -> None:
        """Wait for something to happen, and do what it asks for."""
        times = [worker.start_at for worker in self._workers if worker.start_at is not None]
        due_at = min([*times, self._kill_at])
        if self._keeper is not None and self._announced:
            due_at = min(due_at, time.monotonic() + TURN_S)
        wait_s = None if due_at == float("inf") else max(0.0, due_at - time.monotonic())
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                self._heed(self._signals.recv(512))
            else:
                self._hear(key.data)
        self._reap()
        now = time.monotonic()
        for worker in self._workers:
            if worker.start_at is not None and worker.start_at <= now:
                self._start(worker)
            if worker.pid is not None and now >= self._kill_at:
                os.kill(worker.pid, signal.SIGKILL)
        if self._keeper is not None and self._announced:
            self._keeper.turn()
        if now >= self._kill_at:
            self._kill_at = float("inf")
            if self._keeper is not None:
                self._keeper.kill()

    def _heed(self, numbers: bytes) -> None:
        for number in numbers:
            if number in (signal.SIGTERM, signal.SIGINT) or (number == signal.SIGHUP and self._hangup.is_end()):
                self._end()
            elif number == signal.SIGHUP and self._read_anew():
                self._tell_all(RELOAD)

    def _end(self) -> None:
        """The first time drain, the second time end the grace time, the third time wait for nothing."""
        self._told_to_end += 1
        if self._keeper is not None:
            self._keeper.end()
        if self._told_to_end == 1:
            self._kill_at = time.monotonic() + longest_end_s(self._settings.server.shutdown_grace_s)
            for worker in self._workers:
                worker.start_at = None
                # Of workers that have ended already, nobody would take connections any more.
                self._close_sockets(worker)
            self._tell_all(DRAIN)
        elif self._told_to_end == 2:
            self._kill_at = time.monotonic() + longest_end_s(0.0)
            self._tell_all(END_GRACE)
        else:
            self._kill_at = time.monotonic()

    def _read_anew(self) -> bool:
        """Are the settings as they are written now good? Workers to be started begin with them then."""
        try:
            prepared = Serving(self._application, self._source).prepare()
        except ConfigurationError as error:
            logger.error("the settings stay as they are, because those to be read cannot be used: %s", error)  # noqa: TRY400
            return False
        finally:
            # A worker that is forked later must not share a connection.
            self._application.database.close()
        self._application, self._file = prepared.built.application, prepared.file
        if self._keeper is not None:
            self._keeper.renew()
        return True

    def _hear(self, worker: _Worker) -> None:
        """A worker tells something, or its end of the link is closed."""
        try:
            words = worker.link.recv(64) if worker.link is not None else b""
        except OSError:
            words = b""
        if not words:
            self._drop_link(worker)
        if READY in words:
            worker.was_ready = True
            if not self._announced and all(each.was_ready for each in self._workers):
                self._announced = True
                self._on_started(self._url)
        if RELOADED in words:
            self._read_anew()

    def _tell_all(self, word: bytes) -> None:
        for worker in self._workers:
            if worker.link is not None:
                with suppress(OSError):
                    worker.link.send(word, socket.MSG_DONTWAIT)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid is None:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._ended(worker, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, exit_code: int) -> None:
        pid, worker.pid = worker.pid, None
        self._drop_link(worker)
        if self._told_to_end:
            return
        if not worker.was_ready and not self._announced:
            raise ConfigurationError(
                f"Worker {worker.number} ended with exit code {exit_code} before it could serve.",
                hint="The lines above say why.",
            )
        lived_s = time.monotonic() - worker.started_at
        worker.early_ends = 0 if lived_s >= STEADY_S else worker.early_ends + 1
        wait_s = 0.0
        if worker.early_ends > 1:
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** (worker.early_ends - 2))
            if SOCKET_EACH:
                # So that the system sends no connections to where nobody takes them.
                self._close_sockets(worker)
        how = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
        logger.error("worker %d (process %s) ended %s; it is started anew in %g s", worker.number, pid, how, wait_s)
        worker.start_at = time.monotonic() + wait_s

    def _start(self, worker: _Worker) -> None:
        worker.start_at, worker.started_at = None, time.monotonic()
        try:
            worker.sockets = worker.sockets or self._listen_beside()
        except ConfigurationError as error:
            logger.error("worker %d cannot be started anew yet: %s", worker.number, error)  # noqa: TRY400
            worker.start_at = time.monotonic() + LONGEST_WAIT_S
            return
        link, theirs = socket.socketpair()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # A signal between the fork and the worker's own handlers would be told to the supervisor.
        signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
        pid = os.fork()
        if not pid:
            link.close()
            self._become(worker, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
        theirs.close()
        worker.pid, worker.link = pid, link
        self._selector.register(link, selectors.EVENT_READ, worker)

    def _become(self, worker: _Worker, link: socket.socket) -> NoReturn:
        """In the new process."""
        exit_code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in HEEDED:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HEEDED)
            self._leave_to_others(worker)
            neighbourhood = Neighbourhood(worker.number, len(self._workers), self._folder, self._token)
            work(
                Workplace(neighbourhood, worker.sockets, link),
                Serving(self._application, self._source, self._file),
            )
            exit_code = 0
        except SystemExit as error:
            exit_code = error.code if isinstance(error.code, int) else 1
        except BaseException:  # noqa: BLE001 - nothing may get back into the supervisor's own code
            traceback.print_exc()
        finally:
            # Not sys.exit: the supervisor's own clean-up is not the worker's to do.
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            os._exit(exit_code)

    def _leave_to_others(self, own: _Worker) -> None:
        """Close what belongs to the supervisor and the other workers; a copy here would keep it open."""
        self._selector.close()
        if self._keeper is not None:
            self._keeper.leave_to_parent()
        for each in (self._signals, self._signal_writer):
            each.close()
        for worker in self._workers:
            if worker is not own:
                self._drop(worker.link)
                if SOCKET_EACH:
                    self._close_sockets(worker)

    def _drop_link(self, worker: _Worker) -> None:
        if worker.link is not None:
            self._selector.unregister(worker.link)
            worker.link.close()
            worker.link = None

    @staticmethod
    def _drop(link: socket.socket | None) -> None:
        if link is not None:
            link.close()

    @staticmethod
    def _close_sockets(worker: _Worker) -> None:
        for each in worker.sockets:
            each.close()
        worker.sockets = []
