"""Counts requests in flight, and refuses new ones once the shutdown has begun, and while this process is overloaded.

The invariant: a refusal comes before the request's body is read, and whatever was admitted is not harmed.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.errors import ServerBusy
from waypost.gateway.overload import Admission, OverloadLimits
from waypost.server.envelope import error_reply
from waypost.server.lifecycle import Lifecycle
from waypost.server.serving import Serving
from waypost.settings import ServerSettings

PROBES = frozenset({"/health", "/ready"})
"""Asked by supervisors all the time, while draining too; a drain does not wait for them."""
ADMIN = "/api/admin/"
"""What mends an overload must get through."""
LIGHT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
"""Pages, lists, and streams that are gone on with, which were admitted when they began, or ended, which is relief."""
RETRY_AFTER_S = 5.0
RESUME_SHARE = 0.9
"""Requests are taken again at this part of the most that may be in flight."""
RESUME_LAG_SHARE = 0.2


class Draining:
    """503 `server_busy` with Retry-After while draining, or overloaded."""

    def __init__(self, app: ASGIApp, lifecycle: Lifecycle, admission: Admission, served: Serving) -> None:
        self.app = app
        self._lifecycle = lifecycle
        self._admission = admission
        self._served = served
        self._settings: ServerSettings | None = None

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
        if scope["method"] in LIGHT_METHODS or scope["path"].startswith(ADMIN):
            await self._counted(scope, receive, send)
            return
        settings = self._served.settings.server
        if settings is not self._settings:
            self._settings, self._admission.limits = settings, limits_of(settings)
        overload = self._admission.admit()
        if overload is not None:
            await error_reply(overload, scope)(scope, receive, send)
            return
        try:
            await self._counted(scope, receive, send)
        finally:
            self._admission.left()

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        generations = self._served.generations
        generation = generations.enter()
        self._lifecycle.in_flight += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self._lifecycle.in_flight -= 1
            generations.leave(generation)


def limits_of(settings: ServerSettings) -> OverloadLimits:
    """The limits that the settings ask for."""
    return OverloadLimits(
        max_in_flight=settings.max_in_flight,
        resume_in_flight=int(settings.max_in_flight * RESUME_SHARE),
        max_lag_s=settings.max_loop_lag_s,
        resume_lag_s=settings.max_loop_lag_s * RESUME_LAG_SHARE,
    )
