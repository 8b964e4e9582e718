"""The last stop of unexpected exceptions: logged with their trace, told to the caller without it."""

from __future__ import annotations

import logging

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.errors import WaypostError
from waypost.server.envelope import error_reply
from waypost.server.middleware.request_id import request_id_of

logger = logging.getLogger("waypost.server")


class Boundary:
    """Turns what nobody else caught into a reply."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def send_noting_start(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self.app(scope, receive, send_noting_start)
        except Exception as error:
            # Half a reply cannot be mended: the server closes the connection, which tells the caller so.
            if started:
                raise
            await told(error, scope)(scope, receive, send)


def told(error: Exception, scope: Scope) -> Response:
    """The reply to a request that ended so before it was answered. What is none of our errors is logged."""
    if not isinstance(error, WaypostError):
        logger.error("request %s failed", request_id_of(scope), exc_info=error)
    return error_reply(error, scope)
