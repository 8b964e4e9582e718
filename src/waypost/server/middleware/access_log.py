"""One JSON line a request, written when it ends. Never a query, a header or a body: they may hold secrets."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.server.middleware.request_id import request_id_of

logger = logging.getLogger("waypost.access")
LONGEST_PATH = 500
NO_REPLY = 499
"""Logged where the caller went away before a status was sent; nginx's custom."""


class AccessLog:
    """Logs method, path, status, duration and request id to the logger "waypost.access"."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] != "http" or not logger.isEnabledFor(logging.INFO):
            await self.app(scope, receive, send)
            return
        status = NO_REPLY
        started = time.monotonic()

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, send_noting_status)
        finally:
            line = {
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "method": scope["method"],
                "path": scope["path"][:LONGEST_PATH],
                "status": status,
                "duration_ms": round((time.monotonic() - started) * 1000, 1),
                "request_id": request_id_of(scope),
            }
            logger.info("%s", json.dumps(line))
