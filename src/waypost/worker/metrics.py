"""A worker's numbers, at a port for Prometheus and at a socket for the server that keeps this worker beside it.

A port that other machines reach takes the token, unless the settings say that metrics are open. The socket is in a
folder that only this account may enter.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from waypost.errors import ConfigurationError
from waypost.gateway.gauges import backlog_gauges, gauges_of
from waypost.gateway.overload import Admission, LagMeter
from waypost.settings import TelemetrySettings
from waypost.settings.server import is_exposed
from waypost.telemetry.metrics.families import LAG_SECONDS
from waypost.telemetry.metrics.keeping import Kept, beside
from waypost.telemetry.metrics.metrics import Metrics
from waypost.telemetry.metrics.numbers import Snapshot, together

if TYPE_CHECKING:
    from aiohttp import web

    from waypost.worker.app import WorkerApplication

logger = logging.getLogger("waypost.worker")
PATH: Final = "/metrics"
BEARER: Final = "Bearer "


class WorkerScrapes:
    """One worker process's numbers. `kept` None: no server adds them to its own."""

    def __init__(self, application: WorkerApplication, metrics: Metrics, kept: Kept | None = None) -> None:
        self._application = application
        self._metrics = metrics
        self._kept = kept
        self._turn = asyncio.Lock()

    async def snapshot(self) -> Snapshot:
        """What this process counted, and how it stands."""
        application, metrics = self._application, self._metrics
        async with self._turn:
            gauges = gauges_of(application.gateway, application.ledger, metrics.models)
            return await asyncio.to_thread(self._whole, metrics.snapshot(gauges))

    def _whole(self, counted: Snapshot) -> Snapshot:
        from waypost.telemetry.metrics import exposition

        whole = together((counted, exposition.process_values()))
        if self._kept is None:
            return whole
        # The server's own loop is what its callers wait for.
        whole.bins.pop(LAG_SECONDS.name, None)
        return self._kept.told(whole)

    async def told(self, accept: str) -> tuple[bytes, str]:
        """The text for a scraper, and its content type."""
        own, journal = await asyncio.gather(self.snapshot(), backlog_gauges(self._application.ledger))

        def text() -> tuple[bytes, str]:
            from waypost.telemetry.metrics import exposition

            return exposition.told(together((own, Snapshot(journal))), accept)

        return await asyncio.to_thread(text)


def demand_safe(settings: TelemetrySettings) -> None:
    """Raises ConfigurationError if other machines could read the metrics at the worker's port, unasked."""
    if settings.worker_metrics_port is None or settings.metrics != "key" or settings.metrics_token is not None:
        return
    if is_exposed(settings.worker_metrics_host):
        raise ConfigurationError(
            f"telemetry.worker_metrics_host, {settings.worker_metrics_host}, is open to other machines.",
            hint="Set telemetry.metrics_token, or telemetry.metrics to open.",
        )


@asynccontextmanager
async def told_metrics(application: WorkerApplication, address: Path | None) -> AsyncIterator[None]:
    """Inside the block they can be read. `address` is the server's socket. Raises ConfigurationError: a busy port."""
    metrics, telemetry = application.metrics, application.settings.telemetry
    if metrics is None or (address is None and telemetry.worker_metrics_port is None):
        yield
        return
    meter = LagMeter(Admission(), observe=metrics.lagged)
    meter.start()
    runners = []
    try:
        if address is not None:
            runners.append(await _at_socket(WorkerScrapes(application, metrics, Kept(beside(address))), address))
        if telemetry.worker_metrics_port is not None:
            try:
                runners.append(await _at_port(WorkerScrapes(application, metrics), telemetry))
            except OSError as error:
                _refuse_or_tell(telemetry, error, has_server=address is not None)
        yield
    finally:
        meter.stop()
        for runner in runners:
            await runner.cleanup()


def _refuse_or_tell(telemetry: TelemetrySettings, error: OSError, *, has_server: bool) -> None:
    place = f"{telemetry.worker_metrics_host}:{telemetry.worker_metrics_port}"
    if not has_server:
        raise ConfigurationError(
            f"Metrics cannot be told at {place}: {error.strerror}.",
            hint="Choose another telemetry.worker_metrics_port, or --metrics-port.",
        ) from error
    # The server tells them too, and jobs are more important.
    logger.error("metrics are not told at %s: %s", place, error.strerror)


async def _at_port(scrapes: WorkerScrapes, telemetry: TelemetrySettings) -> web.AppRunner:
    from aiohttp import web

    async def tell(request: web.Request) -> web.Response:
        if not _may_scrape(request, telemetry):
            return web.Response(status=401, text="This worker asks for its metrics token.\n")
        text, content_type = await scrapes.told(request.headers.get("accept", ""))
        return web.Response(body=text, headers={"content-type": content_type, "cache-control": "no-store"})

    runner = await _runner(tell)
    site = web.TCPSite(runner, telemetry.worker_metrics_host, telemetry.worker_metrics_port)
    await site.start()
    logger.info(
        "metrics are told at %s", ", ".join(f"http://{host}:{port}{PATH}" for host, port, *_ in runner.addresses)
    )
    return runner


async def _at_socket(scrapes: WorkerScrapes, address: Path) -> web.AppRunner:
    from aiohttp import web

    async def tell(_: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(await scrapes.snapshot()), content_type="application/json")

    runner = await _runner(tell)
    # asyncio takes away a socket that a worker before this one left behind.
    await web.UnixSite(runner, str(address)).start()
    return runner


async def _runner(tell: Callable[[web.Request], Awaitable[web.Response]]) -> web.AppRunner:
    from aiohttp import web

    application = web.Application()
    application.router.add_get(PATH, tell)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    await runner.setup()
    return runner


def _may_scrape(request: web.Request, telemetry: TelemetrySettings) -> bool:
    if telemetry.metrics == "open":
        return True
    token = telemetry.metrics_token
    if token is not None:
        shown = request.headers.get("authorization", "")
        return hmac.compare_digest(shown.encode(), f"{BEARER}{token.get_secret_value()}".encode())
    # A page that made its name mean this machine says that name.
    return request.url.host is not None and not is_exposed(request.url.host)
