"""Runs the server until it is told to stop, and then lets streams in flight end.

The first signal (SIGTERM, SIGINT) begins the drain: new requests get 503 while those in flight go on, for at most
`shutdown_grace_s`; the second ends the grace time; the third ends the process without waiting for anything. SIGHUP
reads the settings anew.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

import uvicorn
from starlette.types import ASGIApp

from waypost.errors import ConfigurationError
from waypost.server.api import WaypostApi, create_app
from waypost.server.application import ServedApplication
from waypost.server.hangup import Hangup
from waypost.server.lifecycle import Lifecycle
from waypost.server.listen import listen, url_of
from waypost.server.logs import configure_logging
from waypost.server.peers import private_folder
from waypost.server.protocol import EnvelopeProtocol
from waypost.server.scrapes import JOBS_SOCKET
from waypost.server.serving import Serving
from waypost.server.worker_keeper import WorkerKeeper, kept
from waypost.settings.server import is_exposed

logger = logging.getLogger("waypost.server")

TELL_S = 2.0
"""Time for requests that outlived the grace time to tell their callers so."""
COLLECTOR = (10_000, 10, 10)
"""Objects made before the youngest are looked through, and how seldom the older ones are."""
FLUSH_S = 5
"""Time for the last bytes to reach slow readers once every request is done."""


class DrainingServer(uvicorn.Server):
    """A uvicorn server that keeps answering while it drains. uvicorn itself would close its sockets first."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: WaypostApi,
        on_started: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(config)
        self.lifecycle: Lifecycle = app.state.lifecycle
        self._served: Serving = app.state.served
        self._on_started = on_started
        self._clock = clock
        self._grace_ends_at = float("inf")
        self._reloading: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        _settle_memory()
        self.heed_reload()
        self._on_started()

    def heed_reload(self) -> None:
        """From now on SIGHUP reads the settings anew; not where the server runs beside a program's main thread."""
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            return
        hangup = Hangup.at_start()

        def heed() -> None:
            (self.drain if hangup.is_end() else self.reload)()

        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, heed)

    def reload(self) -> None:
        """Begin to read the settings anew; what came of it is logged. Call it in the server's event loop."""
        task = asyncio.ensure_future(reload_and_log(self._served))
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """A signal came. Unlike uvicorn, the signal is not raised again at the end: a drained server ended well."""
        self.end_sooner()

    def end_sooner(self) -> None:
        """Begin the drain; called again, end the grace time; again, wait for nothing."""
        if not self.lifecycle.draining:
            self.drain()
        elif self._grace_ends_at > self._clock():
            self.end_grace()
        else:
            self.should_exit = self.force_exit = True

    def drain(self) -> None:
        """Begin the shutdown. May be called from any thread; a second call changes nothing."""
        if not self.lifecycle.draining:
            self._grace_ends_at = self._clock() + self._served.settings.server.shutdown_grace_s
            self.lifecycle.draining = True

    def end_grace(self) -> None:
        """What is in flight must end now. May be called from any thread."""
        self._grace_ends_at = min(self._grace_ends_at, self._clock())

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: is the drain over?"""
        if self.lifecycle.draining and not self.should_exit:
            now = self._clock()
            if now >= self._grace_ends_at:
                self.lifecycle.expire()
            self.should_exit = self.lifecycle.in_flight == 0 or now >= self._grace_ends_at + TELL_S
        return await super().on_tick(counter)


async def reload_and_log(served: Serving) -> None:
    """Read the settings anew; say why, if they stay as they are."""
    try:
        await served.reload()
    except ConfigurationError as error:
        logger.error("the settings stay as they are, because those to be read cannot be used: %s", error)  # noqa: TRY400


def http_config(app: ASGIApp, *, lifespan: Literal["on", "off"] = "on") -> uvicorn.Config:
    """How uvicorn serves an application of ours."""
    return uvicorn.Config(
        app,
        http=EnvelopeProtocol,
        ws="none",
        lifespan=lifespan,
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody is trusted to say where a request came from.
        proxy_headers=False,
        timeout_graceful_shutdown=FLUSH_S,
    )


def make_server(
    application: ServedApplication | Serving,
    on_started: Callable[[], None] = lambda: None,
    jobs_socket: Path | None = None,
) -> DrainingServer:
    """The server, not yet running: `serve(sockets=listen(host, port))` or `run(sockets=…)` starts it.

    `jobs_socket` is where the worker beside it tells its numbers.
    """
    app = create_app(application, jobs_socket=jobs_socket)
    return DrainingServer(http_config(app), app, on_started)


def log_as_told(served: Serving) -> None:
    """Set up logging by the settings, and by those of each reload."""
    configure_logging(served.settings)
    served.on_reload.append(configure_logging)


def run(
    application: ServedApplication | Serving,
    host: str | None = None,
    port: int | None = None,
    *,
    on_started: Callable[[str], None] = lambda url: None,  # noqa: ARG005 - the default ignores it
    worker: WorkerKeeper | None = None,
) -> None:
    """Serve until a signal, then drain, close `application` and return. Blocks; call it in the main thread.

    `host` and `port` default to the settings; port 0 takes a free one. `on_started` gets the URL when the server
    answers; from then on `worker` keeps one beside it. Log lines go to stderr, nothing is printed. Raises
    ConfigurationError, before anything is served, if the port is busy or the address is not this machine's loopback.
    """
    served = application if isinstance(application, Serving) else Serving(application)
    settings = served.settings.server
    host = host or settings.host
    sockets = listen(host, settings.port if port is None else port, has_keys=may_be_exposed(served, host))
    log_as_told(served)
    if worker is not None:
        served.on_reload.append(lambda _: worker.renew())
    with jobs_socket_of(worker) as jobs_socket, kept(worker, lambda: server.lifecycle.draining) as begin_to_keep:

        def started() -> None:
            on_started(url_of(sockets))
            begin_to_keep()

        server = make_server(served, started, jobs_socket)
        server.run(sockets=sockets)


@contextmanager
def jobs_socket_of(worker: WorkerKeeper | None) -> Iterator[Path | None]:
    """Inside the block the worker has a socket of its own, if there is one, where the server reads its numbers."""
    if worker is None or sys.platform == "win32":
        yield None
        return
    folder = private_folder()
    worker.metrics_socket = folder / JOBS_SOCKET
    try:
        yield worker.metrics_socket
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def may_be_exposed(served: ServedApplication, host: str) -> bool:
    """Is there a key, so that other machines may reach the server? For a loopback address, which asks for none, False.

    Blocks where keys are only in the database, and leaves nothing of it open. Raises ConfigurationError.
    """
    if not is_exposed(host):
        return False
    try:
        return served.callers.any_made()
    finally:
        served.database.close()


def _settle_memory() -> None:
    """What is there now stays: the collector need not look at it again, nor look so often at what requests make."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR)
