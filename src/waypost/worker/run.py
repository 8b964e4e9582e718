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
from typing import TypeAlias

from waypost.jobs.body import JobBody
from waypost.settings import Settings
from waypost.worker.app import WorkerApplication, build_worker
from waypost.worker.bodies import bodies
from waypost.worker.logs import configure_logging

Bodies: TypeAlias = Callable[[WorkerApplication], Mapping[str, JobBody]]
logger = logging.getLogger("waypost.worker")
LONGEST_GRACE_S = 20.0
"""A service manager waits half a minute or so, and then kills."""


def run(
    settings: Settings,
    on_started: Callable[[str], None] = lambda name: None,  # noqa: ARG005 - it is the default
    does: Bodies = bodies,
) -> None:
    """Do jobs until a signal. Blocks; call it in the main thread.

    `on_started` gets the worker's name; `does` says which types of jobs it does.
    """
    configure_logging(settings.server.log_level)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_work(build_worker(settings), on_started, does))


async def _work(application: WorkerApplication, on_started: Callable[[str], None], does: Bodies) -> None:
    stop = asyncio.Queue[None]()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # Windows has no handlers of a loop.
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.put_nowait, None))
    worker = application.worker(does(application))
    sending: asyncio.Task[None] | None = None
    batches = application.provider_batches(worker)
    batching: asyncio.Task[None] | None = None
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
            batching = asyncio.ensure_future(batches.run())
            await told
        starting.cancel()
        if batching is not None:
            # While the worker is alive for others, who would take what it sends for lost.
            await batches.close()
            await batching
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
