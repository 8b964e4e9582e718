"""Notes, before anything can go wrong, in which form errors of this path are told (see `envelope.error_reply`)."""

from __future__ import annotations

from functools import partial

from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.server.doors.errors import door_error
from waypost.server.doors.table import door_at
from waypost.server.envelope import ERROR_FORM


class Dialect:
    """On a front door's path every error is in its dialect, also those of the middlewares further in."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        door = door_at(scope) if scope["type"] == "http" else None
        if door is not None:
            scope.setdefault("state", {})[ERROR_FORM] = partial(door_error, door)
        await self.app(scope, receive, send)
