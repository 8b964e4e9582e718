"""Gives every request an id: the caller's own if it is a safe token, else a new one. Every reply carries it."""

from __future__ import annotations

import re
from contextvars import ContextVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.server.ids import new_request_id
from waypost.server.middleware.headers import header_value

HEADER = "x-request-id"
# Only what is safe in a header, a log line and a file name.
ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")

current_request_id: ContextVar[str] = ContextVar("waypost_request_id", default="")
"""The id of the request that the running task works for; empty outside of one."""


def request_id_of(scope: Scope) -> str:
    """The id given to this request; empty before this middleware saw it."""
    return str(scope.get("state", {}).get("request_id", ""))


def give_id(scope: Scope) -> str:
    """The request's id from now on, set in the scope's state."""
    given = header_value(scope, HEADER.encode())
    request_id = given if given is not None and ACCEPTED.fullmatch(given) else new_request_id()
    scope.setdefault("state", {})["request_id"] = request_id
    return request_id


class RequestId:
    """Sets the id in the scope's state and in `current_request_id`, and echoes it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = give_id(scope)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (HEADER.encode(), request_id.encode())]}
            await send(message)

        token = current_request_id.set(request_id)
        try:
            await self.app(scope, receive, send_with_id)
        finally:
            current_request_id.reset(token)
