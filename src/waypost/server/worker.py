"""One of several worker processes: a server that obeys its supervisor instead of the terminal.

The invariant: a worker ends soon after its supervisor, however that ended. Then nobody would start workers anew or tell
them of a shutdown, and a new server could not have the port: the sockets are closed at once, what is in flight may end.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final

import uvicorn

from waypost.server.api import WaypostApi, create_app
from waypost.server.ids import mark_ids
from waypost.server.peers import Neighbourhood, Peers
from waypost.server.run import FLUSH_S, TELL_S, DrainingServer, http_config, log_as_told
from waypost.server.serving import Serving

DRAIN: Final = b"d"
END_GRACE: Final = b"e"
RELOAD: Final = b"r"
"""What a supervisor tells a worker, one byte each."""
READY: Final = b"s"
RELOADED: Final = b"n"
"""What a worker tells its supervisor."""
ORPHAN_EXIT_CODE: Final = 75
MARGIN_S: Final = 5.0
"""How long an orderly end may take beyond the times that are meant for its parts."""


def longest_end_s(grace_s: float) -> float:
    """Seconds after which a worker that was told to end has, unless it hangs."""
    return grace_s + TELL_S + FLUSH_S + MARGIN_S


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a supervisor gives a worker: who it is, the public sockets, and the link to the supervisor."""

    neighbourhood: Neighbourhood
    sockets: list[socket.socket]
    link: socket.socket


def work(place: Workplace, served: Serving) -> None:
    """Serve until the supervisor says otherwise, or is gone. Blocks; call it in the main thread."""
    # Ctrl-C, and a service manager's signals, may reach every process: the supervisor decides what they mean.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    mark_ids(place.neighbourhood.own)
    log_as_told(served)
    app = create_app(served, Peers(place.neighbourhood))
    served.on_reload.append(lambda _: _tell(place.link, RELOADED))
    WorkerServer(http_config(app), app, place).run(sockets=place.sockets)


class WorkerServer(DrainingServer):
    """Also listens on the private socket, and follows what comes over the link."""

    def __init__(self, config: uvicorn.Config, app: WaypostApi, place: Workplace) -> None:
        super().__init__(config, app)
        self._place = place
        self._private = http_config(app.for_peers(), lifespan="off")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the supervisor."""
        await super().startup(sockets)
        self._private.load()
        loop = asyncio.get_running_loop()
        listening = await loop.create_unix_server(self._private_protocol, sock=self._place.neighbourhood.listen())
        self.servers.append(listening)
        threading.Thread(target=self._follow, args=(loop,), name="supervisor", daemon=True).start()
        _tell(self._place.link, READY)

    def heed_reload(self) -> None:
        """The supervisor says when."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """SIGTERM for this process alone: drain, however often it comes."""
        if sig == signal.SIGTERM:
            self.drain()

    def orphaned(self) -> None:
        """The supervisor is gone."""
        for server in self.servers:
            server.close()
        self.drain()
        shutil.rmtree(self._place.neighbourhood.folder, ignore_errors=True)

    def _private_protocol(self) -> asyncio.Protocol:
        return self._private.http_protocol_class(  # type: ignore[call-arg]
            config=self._private, server_state=self.server_state, app_state={}
        )

    def _follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread of its own: a loop that hangs must not outlive the supervisor either."""
        commands: Mapping[bytes, Callable[[], None]] = {
            DRAIN: self.drain,
            END_GRACE: self.end_grace,
            RELOAD: self.reload,
        }
        # The loop is closed when the server has ended.
        with suppress(RuntimeError):
            while told := _received(self._place.link):
                loop.call_soon_threadsafe(commands[told])
            loop.call_soon_threadsafe(self.orphaned)
        time.sleep(longest_end_s(self._served.settings.server.shutdown_grace_s))
        os._exit(ORPHAN_EXIT_CODE)


def _received(link: socket.socket) -> bytes:
    """One command; nothing if the other end is gone."""
    try:
        return link.recv(1)
    except OSError:
        return b""


def _tell(link: socket.socket, word: bytes) -> None:
    # A supervisor that is gone, or does not read, is noticed elsewhere.
    with suppress(OSError):
        link.send(word, socket.MSG_DONTWAIT)
