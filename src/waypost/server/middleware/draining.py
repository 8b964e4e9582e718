"""Counts requests in flight, and refuses new ones once the shutdown has begun."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.errors import ServerBusy
from waypost.server.envelope import error_reply
from waypost.server.lifecycle import Lifecycle

PROBES = frozenset({"/health", "/ready"})
"""Asked by supervisors all the time, while draining too; a drain does not wait for them."""
RETRY_AFTER_S = 5.0


class Draining:
    """503 `server_busy` with Retry-After while draining."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle) -> None:
        self.app = app
        self._lifecycle = lifecycle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        if self._lifecycle.draining:
            error = ServerBusy(
                "The server is shutting down and takes no new request.",
                hint="Send the request again in a few seconds.",
                retry_after_s=RETRY_AFTER_S,
            )
            await error_reply(error, scope, headers={"connection": "close"})(scope, receive, send)
            return
        self._lifecycle.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._lifecycle.in_flight -= 1
