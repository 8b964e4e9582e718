"""Wrong settings end the start of the server with their own sentence instead of a stack trace."""

from __future__ import annotations

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost.errors import ConfigurationError


class PlainStart:
    """Looks at the lifespan only; requests pass."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Take one connection of any type."""
        start = scope["type"] == "lifespan"
        return self._started(scope, receive, send) if start else self.app(scope, receive, send)

    async def _started(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_all_but_failure(message: Message) -> None:
            # Starlette's message is the trace; what is to be said is known once the error has come through.
            if message["type"] != "lifespan.startup.failed":
                await send(message)

        try:
            await self.app(scope, receive, send_all_but_failure)
        except ConfigurationError as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            # The server has its message and prints no trace; a test client gets the error itself.
            raise
