"""Runs the server until it is told to stop, and then lets streams in flight end.

The first signal (SIGTERM, SIGINT) begins the drain: new requests get 503 while those in flight go on, for at most
`shutdown_grace_s`; the second ends the grace time; the third ends the process without waiting for anything.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import cast

import uvicorn

from waypost.server.api import create_app
from waypost.server.application import ServedApplication
from waypost.server.lifecycle import Lifecycle
from waypost.server.listen import listen, url_of
from waypost.server.logs import configure_logging
from waypost.server.protocol import EnvelopeProtocol

TELL_S = 2.0
"""Time for requests that outlived the grace time to tell their callers so."""
FLUSH_S = 5
"""Time for the last bytes to reach slow readers once every request is done."""


class DrainingServer(uvicorn.Server):
    """A uvicorn server that keeps answering while it drains. uvicorn itself would close its sockets first."""

    def __init__(
        self,
        config: uvicorn.Config,
        lifecycle: Lifecycle,
        grace_s: float,
        on_started: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(config)
        self.lifecycle = lifecycle
        self._grace_s = grace_s
        self._on_started = on_started
        self._clock = clock
        self._grace_ends_at = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """A signal came. Unlike uvicorn, the signal is not raised again at the end: a drained server ended well."""
        if not self.lifecycle.draining:
            self.drain()
        elif self._grace_ends_at > self._clock():
            self._grace_ends_at = self._clock()
        else:
            self.should_exit = self.force_exit = True

    def drain(self) -> None:
        """Begin the shutdown. May be called from any thread."""
        self._grace_ends_at = self._clock() + self._grace_s
        self.lifecycle.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second: is the drain over?"""
        if self.lifecycle.draining and not self.should_exit:
            now = self._clock()
            if now >= self._grace_ends_at:
                self.lifecycle.expire()
            self.should_exit = self.lifecycle.in_flight == 0 or now >= self._grace_ends_at + TELL_S
        return await super().on_tick(counter)


def make_server(application: ServedApplication, on_started: Callable[[], None] = lambda: None) -> DrainingServer:
    """The server, not yet running: `serve(sockets=listen(host, port))` or `run(sockets=…)` starts it."""
    settings = application.settings.server
    app = create_app(application)
    config = uvicorn.Config(
        app,
        http=EnvelopeProtocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        # Nobody is trusted to say where a request came from.
        proxy_headers=False,
        timeout_graceful_shutdown=FLUSH_S,
    )
    return DrainingServer(config, cast("Lifecycle", app.state.lifecycle), settings.shutdown_grace_s, on_started)


def run(
    application: ServedApplication,
    host: str | None = None,
    port: int | None = None,
    *,
    on_started: Callable[[str], None] = lambda url: None,  # noqa: ARG005 - the default ignores it
) -> None:
    """Serve until a signal, then drain, close `application` and return. Blocks; call it in the main thread.

    `host` and `port` default to the settings; port 0 takes a free one. `on_started` gets the URL when the server
    answers. Log lines go to stderr, nothing is printed. Raises ConfigurationError, before anything is served, if the
    port is busy or the address is not this machine's loopback.
    """
    settings = application.settings.server
    has_keys = not application.callers.open_to_all
    sockets = listen(host or settings.host, settings.port if port is None else port, has_keys=has_keys)
    configure_logging(settings.log_level)
    make_server(application, lambda: on_started(url_of(sockets))).run(sockets=sockets)
