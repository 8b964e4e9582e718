"""Runs a worker until it is told to stop: the first signal (SIGTERM, SIGINT) begins its end, the second hastens it.

At the end it takes no more jobs, lets the calls under way come to theirs for a while, and leaves the rest to others at
once.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from waypost.jobs.body import JobBody
from waypost.settings import Settings
from waypost.worker.app import WorkerApplication, build_worker
from waypost.worker.bodies import bodies
from waypost.worker.logs import configure_logging
from waypost.worker.metrics import demand_safe, told_metrics

Bodies: TypeAlias = Callable[[WorkerApplication], Mapping[str, JobBody]]
logger = logging.getLogger("waypost.worker")
LONGEST_GRACE_S = 20.0
"""A service manager waits half a minute or so, and then kills."""


def run(
    settings: Settings,
    on_started: Callable[[str], None] = lambda name: None,  # noqa: ARG005 - it is the default
    does: Bodies = bodies,
    *,
    metrics_socket: Path | None = None,
) -> None:
    """Do jobs until a signal. Blocks; call it in the main thread.

    `on_started` gets the worker's name; `does` says which types of jobs it does; `metrics_socket` is where a server
    reads its numbers. Raises ConfigurationError.
    """
    demand_safe(settings.telemetry)
    configure_logging(settings)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_observed(build_worker(settings), on_started, does, metrics_socket))


async def _observed(
    application: WorkerApplication, on_started: Callable[[str], None], does: Bodies, metrics_socket: Path | None
) -> None:
    async with told_metrics(application, metrics_socket):
        await _work(application, on_started, does)


async def _work(application: WorkerApplication, on_started: Callable[[str], None], does: Bodies) -> None:
    stop = asyncio.Queue[None]()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no handlers of a loop.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.put_nowait, None))
    worker = application.worker(does(application))
    sending: asyncio.Task[None] | None = None
    try:
        if application.ledger is not None:
            await application.ledger.start()
        starting = asyncio.ensure_future(worker.start())
        told = asyncio.ensure_future(stop.get())
        await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            on_started(worker.lease.executor_id)
            sending = asyncio.ensure_future(application.courier.run())
            await told
        starting.cancel()
        await worker.stop(_grace(application.settings, stop))
    finally:
        if sending is not None:
            await application.courier.close()
            await sending
        await application.close()


async def _grace(settings: Settings, stop: asyncio.Queue[None]) -> None:
    """Over when the next signal comes, or the time that is meant for it."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.get(), min(settings.server.shutdown_grace_s, LONGEST_GRACE_S))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
