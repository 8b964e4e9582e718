"""Cross-origin sharing for the sites in `cors_origins`: Starlette's middleware, with our settings and our errors."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.errors import InvalidRequest
from waypost.gateway.idempotency import REPLAYED
from waypost.gateway.response_cache import CACHE_HEADER
from waypost.server.application import ServedApplication
from waypost.server.doors.headers import ATTEMPTS, COST, ESTIMATE, MODEL, PROVIDER, WARNINGS
from waypost.server.envelope import error_reply
from waypost.server.middleware.request_id import HEADER
from waypost.server.runs import RESPONSE_ID

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
KEPT = (CACHE_HEADER.decode(), "age", REPLAYED[0].decode(), RESPONSE_ID)
LIMITS = tuple(
    name
    for what in ("requests", "tokens")
    for name in (
        *(f"x-ratelimit-{figure}-{what}" for figure in ("limit", "remaining", "reset")),
        *(f"anthropic-ratelimit-{what}-{figure}" for figure in ("limit", "remaining", "reset")),
    )
)
EXPOSED = (HEADER, "retry-after", "request-id", PROVIDER, MODEL, ATTEMPTS, WARNINGS, COST, ESTIMATE, *KEPT, *LIMITS)


class Cors:
    """Built when a request comes, so that making the application reads no settings; again if they are read anew."""

    def __init__(self, app: ASGIApp, served: ServedApplication) -> None:
        self.app = app
        self._served = served
        self._origins: tuple[str, ...] | None = None
        self._sharing: Sharing | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that says where it comes from."""
        origins = self._served.settings.server.cors_origins
        if self._sharing is None or self._origins is not origins:
            self._origins = origins
            self._sharing = Sharing(
                self.app,
                allow_origins=origins,
                allow_methods=METHODS,
                allow_headers=("*",),
                expose_headers=EXPOSED,
            )
        await self._sharing(scope, receive, send)


class Sharing(CORSMiddleware):
    """A preflight that fails is answered with our envelope instead of plain text."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        headers = Headers(scope=scope)
        method = headers.get("access-control-request-method")
        preflight = scope["method"] == "OPTIONS" and "origin" in headers and method is not None
        if preflight and method not in METHODS:
            error = InvalidRequest(
                "The preflight asks for a method that no endpoint here has.",
                hint=f"Methods: {', '.join(METHODS)}.",
                param="Access-Control-Request-Method",
            )
            await error_reply(error, scope)(scope, receive, send)
            return
        await super().__call__(scope, receive, send)

    def preflight_response(self, request_headers: Headers) -> Response:
        """As Starlette's, also for the server's own pages, whose origin `cors_origins` need not name."""
        response = super().preflight_response(request_headers)
        # The guard let this origin in, so a 400 can only mean our own, which needs no sharing at all.
        return response if response.status_code < 400 else Response(status_code=204)
