"""Every path but the open ones asks for a key, if the settings have any."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.errors import AuthenticationRequired, TooManyFailedKeys
from waypost.server.application import ServedApplication
from waypost.server.callers import set_caller
from waypost.server.envelope import error_reply

OPEN: Final = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
"""What anybody may see: probes, and pages that hold nothing of anybody's."""
OPEN_PREFIX: Final = "/assets/"


class Authenticate:
    """401 `authentication_required`; the caller is noted in the scope."""

    def __init__(self, app: ASGIApp, served: ServedApplication) -> None:
        self.app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        if scope["type"] == "http":
            callers = self._served.callers
            # A browser's preflight can carry no key; it is answered before any handler.
            is_open = callers.open_to_all or scope["path"] in OPEN or scope["path"].startswith(OPEN_PREFIX)
            if not is_open:
                try:
                    set_caller(scope, callers.identify(scope))
                except (AuthenticationRequired, TooManyFailedKeys) as error:
                    await error_reply(error, scope)(scope, receive, send)
                    return
        await self.app(scope, receive, send)
