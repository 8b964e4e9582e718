"""Work that ends when its caller goes away. Whichever ends first, work or watcher, cancels the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.types import Receive

from waypost.errors import ServerBusy
from waypost.server.lifecycle import Lifecycle

ResultT = TypeVar("ResultT")


class CallerGone(Exception):
    """The caller closed the connection; nobody reads a reply any more."""


async def while_connected(work: Awaitable[ResultT], receive: Receive, lifecycle: Lifecycle) -> ResultT:
    """The result of `work`. The request's body must have been read.

    Raises CallerGone on a disconnect and ServerBusy when the shutdown's grace time is over, both after `work` was
    cancelled and has ended; else whatever `work` raises.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.create_task(_disconnected(receive))
    with lifecycle.expiry() as expired:
        try:
            await asyncio.wait((task, watcher, expired), return_when=asyncio.FIRST_COMPLETED)
            finished, gone = task.done(), watcher.done()
        finally:
            await _end(task, watcher)
    if finished:
        return task.result()
    if gone:
        raise CallerGone
    raise ServerBusy("The server was stopped before the answer was complete.", hint="Send the request again.")


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    # Their exceptions are told by `result()`, or nobody is left to be told.
    await asyncio.gather(*tasks, return_exceptions=True)
