"""The simulator as a server on a real socket: inside a test (`Simulator`), or by itself (`serve`).

Loopback unless told otherwise: it has no keys of its own, and shows everyone but web pages what it was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import msgspec
from aiohttp import web

from waypost.errors import ConfigurationError
from waypost.simulator.batches import BatchStore
from waypost.simulator.exchange import FAULT_HEADER, Exchange, House
from waypost.simulator.faults import ANY_MODEL
from waypost.simulator.files import FileStore
from waypost.simulator.guard import refusal
from waypost.simulator.ledger import Ledger, SeenRequest
from waypost.simulator.limiter import Limiter, SeenPace
from waypost.simulator.loading import load_script, script_from
from waypost.simulator.routes import ROUTES, call_of
from waypost.simulator.script import Playbook, Script
from waypost.simulator.stored import ResponseStore
from waypost.simulator.verdict import Verdict, verdicts

MAX_BODY_BYTES = 32 * 1024 * 1024
"""Anthropic's limit for a request."""
SHUTDOWN_S = 0.5


class Simulator:
    """A simulator that runs between `start` and `close`, or inside `async with`. Port 0 takes a free one."""

    def __init__(
        self,
        script: Script | Mapping[str, object] | Path | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._host = host
        self._port = port
        self._playbook = Playbook(_script(script))
        self._ledger = Ledger()
        self._stored = ResponseStore()
        self._limiter = Limiter()
        self._batches = BatchStore()
        self._files = FileStore()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The address: scheme, host and port."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def openai_url(self) -> str:
        """The address as OpenAI's clients take it."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The address as Anthropic's clients take it."""
        return self.url

    @property
    def gemini_url(self) -> str:
        """The address as Google's clients take it; they add the version to the path."""
        return self.url

    @property
    def azure_url(self) -> str:
        """The address as clients of Azure OpenAI take it for their endpoint."""
        return self.url

    @property
    def requests(self) -> tuple[SeenRequest, ...]:
        """What it was asked, in order."""
        return self._ledger.requests

    @property
    def verdicts(self) -> list[Verdict]:
        """What is known of the manners of each client: retries that came too early, storms, broken streams."""
        return verdicts(self._ledger.requests)

    @property
    def paces(self) -> list[SeenPace]:
        """How fast each key was used, if the script has limits."""
        return self._limiter.seen

    async def request(self, number: int, *, ended: bool = True) -> SeenRequest:
        """The request of that number (the first is 1), as soon as it is over, or has come if not `ended`."""
        return await self._ledger.wait(number, ended=ended)

    def clear(self) -> None:
        """Forget what it was asked."""
        self._ledger.clear()
        self._limiter.clear()

    def use(self, script: Script | Mapping[str, object] | Path | None) -> None:
        """Go on with another script, whose rules have all their turns."""
        self._playbook = Playbook(_script(script))

    async def start(self) -> None:
        """Listen. Raises ConfigurationError if the address cannot be had. After `close`, it is the same address."""
        self._closing = asyncio.Event()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        # Cancellation tells a handler that its client has gone away.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=SHUTDOWN_S, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self.close()
            raise _unavailable(self._host, self._port, error) from error
        self._port = self._runner.addresses[0][1]
        self._batches.resume()

    async def close(self) -> None:
        """Stop listening and end every connection; streams that are held are cut."""
        self._closing.set()
        await self._batches.close()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if told := refusal(request, self._host):
            return _json({"error": {"type": "origin_refused", "message": told}}, status=403)
        if own := self._own_page(request):
            return own
        house = House(
            self._playbook, self._ledger, self._closing, self._stored, self._limiter, self._batches, self._files
        )
        return await Exchange(request, call_of(request), house).run()

    def _own_page(self, request: web.Request) -> web.Response | None:
        match request.method, request.path:
            case "GET", "/":
                return _json(_welcome(self.url, self.openai_url))
            case "GET", "/simulator/requests":
                return _json({"requests": self.requests})
            case "GET", "/simulator/verdict":
                return _json({"clients": self.verdicts})
            case "GET", "/simulator/limits":
                return _json({"keys": self.paces})
            case "DELETE", "/simulator/requests":
                self.clear()
                return web.Response(status=204)
        return None


def serve(host: str, port: int, script: Path | None) -> None:
    """Run a simulator until Ctrl-C or SIGTERM. Raises ConfigurationError for a bad script or a busy port."""
    asyncio.run(_serve(Simulator(script, host=host, port=port)))


async def _serve(simulator: Simulator) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        # Windows has no such handlers in its loop; Ctrl-C is a KeyboardInterrupt there.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(name, stop.set)
    async with simulator:
        sys.stdout.write(
            f"Simulating providers on {simulator.url} (Ctrl-C ends it)\n"
            f"  OpenAI clients:    base_url={simulator.openai_url}\n"
            f"  Anthropic clients: base_url={simulator.url}\n"
            f"  Gemini clients:    base_url={simulator.url}\n"
            f"  any API key; requests seen: {simulator.url}/simulator/requests\n"
        )
        sys.stdout.flush()
        await stop.wait()


def _script(script: Script | Mapping[str, object] | Path | None) -> Script:
    if isinstance(script, Script):
        return script
    return load_script(script) if isinstance(script, Path) else script_from(script or {})


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(content), content_type="application/json")


def _welcome(url: str, openai_url: str) -> dict[str, object]:
    return {
        "name": "waypost simulator",
        "base_urls": {"openai": openai_url, "anthropic": url, "gemini": url},
        "endpoints": [f"{route.method} {route.path}" for route in ROUTES],
        "requests_seen": f"{url}/simulator/requests",
        "verdict": f"{url}/simulator/verdict",
        "limits": f"{url}/simulator/limits",
        "faults": {"model_names": ANY_MODEL, "header": f'{FAULT_HEADER}: {{"status": 429, "retry_after_s": 2}}'},
    }


def _unavailable(host: str, port: int, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(
            f"Port {port} on {host} is taken by another program.", hint="Choose another with --port, or 0 for any."
        )
    return ConfigurationError(f"The simulator cannot listen on {host}:{port}: {error.strerror or error}.")
