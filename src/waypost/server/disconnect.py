"""Work that ends when its caller goes away, or when the shutdown's grace time is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar, cast

from starlette.types import Receive, Scope, Send

from waypost.errors import ServerBusy
from waypost.providers.answers import PassOn
from waypost.server.lifecycle import Lifecycle

ResultT = TypeVar("ResultT")
CONNECTION = "waypost.connection"
"""The ASGI extension under which our own server puts the connection into the scope."""


class CallerGone(Exception):
    """The caller closed the connection; nobody reads a reply any more."""


class Connection(Protocol):
    """What our own server knows of a request's connection beyond ASGI."""

    disconnected: bool
    on_disconnect: Callable[[], None] | None
    """Called when the caller closes it; others have to wait in `receive` for that."""
    more_body: bool
    """Is some of the request's body still to come?"""


def connection_of(scope: Scope) -> Connection | None:
    """The request's connection; None under a server that is not ours."""
    connection: Connection | None = (scope.get("extensions") or {}).get(CONNECTION)
    return connection


def pass_on_of(send: Send) -> PassOn | None:
    """What sends some of a reply's body at once, without a message; None: whoever gave this `send` has no such thing.

    It stands beside our own server's `send`, as a method of the same object, and beside what wraps that and agrees.
    """
    owner = getattr(send, "__self__", send)
    return getattr(owner, "pass_on", None)


async def while_connected(
    work: Awaitable[ResultT], receive: Receive, lifecycle: Lifecycle, connection: Connection | None = None
) -> ResultT:
    """The result of `work`, which runs in this task. The request's body must have been read.

    Raises CallerGone on a disconnect and ServerBusy when the shutdown's grace time is over, both after `work` was
    cancelled and has ended; else whatever `work` raises.
    """
    ending = _Ending()
    lifecycle.watch(ending.expire)
    stop_watching = _watch(connection, receive, ending)
    try:
        return await work
    except asyncio.CancelledError:
        # As asyncio.timeout does: a cancellation that was not only ours passes.
        if ending.reason is None or ending.task.uncancel() > 0:
            raise
        raise ending.reason from None
    finally:
        stop_watching()
        lifecycle.forget(ending.expire)


class _Ending:
    """Cancels the task that made it, once, and remembers why."""

    def __init__(self) -> None:
        self.task = cast("asyncio.Task[object]", asyncio.current_task())
        self.reason: Exception | None = None

    def leave(self) -> None:
        """The caller has gone."""
        self._end(CallerGone())

    def expire(self) -> None:
        """The shutdown waits no longer."""
        self._end(ServerBusy("The server was stopped before the answer was complete.", hint="Send the request again."))

    def _end(self, reason: Exception) -> None:
        if self.reason is None:
            self.reason = reason
            self.task.cancel()


def _watch(connection: Connection | None, receive: Receive, ending: _Ending) -> Callable[[], object]:
    """Have the ending told when the caller leaves; what is given stops that."""
    if connection is None:
        return asyncio.create_task(_disconnected(receive, ending)).cancel
    if connection.disconnected:
        ending.leave()
    connection.on_disconnect = ending.leave
    return partial(setattr, connection, "on_disconnect", None)


async def _disconnected(receive: Receive, ending: _Ending) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    ending.leave()
