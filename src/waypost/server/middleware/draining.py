"""Counts requests in flight, and refuses new ones once the shutdown has begun, and while this process is overloaded.

The invariant: a refusal comes before the request's body is read, and whatever was admitted is not harmed.
"""

from __future__ import annotations

from starlette.types import Scope

from waypost.errors import ServerBusy
from waypost.gateway.overload import Admission, OverloadLimits
from waypost.server.generations import Generations
from waypost.server.lifecycle import Lifecycle
from waypost.server.middleware.authenticate import METRICS
from waypost.server.serving import Serving
from waypost.settings import ServerSettings

PROBES = frozenset({"/health", "/ready", METRICS})
"""Asked by supervisors all the time, while draining too; a drain does not wait for them."""
ADMIN = "/api/admin/"
"""What mends an overload must get through."""
LIGHT_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "DELETE"})
"""Pages, lists, and streams that are gone on with, which were admitted when they began, or ended, which is relief."""
RETRY_AFTER_S = 5.0
RESUME_SHARE = 0.9
"""Requests are taken again at this part of the most that may be in flight."""
RESUME_LAG_SHARE = 0.2


class ShuttingDown(ServerBusy):
    """Its reply is the connection's last."""


class Stay:
    """A request in flight, until it says `leave`."""

    __slots__ = ("_admission", "_generation", "_generations", "_lifecycle")

    def __init__(self, lifecycle: Lifecycle, generations: Generations, admission: Admission | None) -> None:
        self._lifecycle = lifecycle
        self._generations = generations
        self._admission = admission
        """None: the request needed no admission."""
        self._generation = generations.enter()
        lifecycle.in_flight += 1

    def leave(self) -> None:
        """It is over."""
        self._lifecycle.in_flight -= 1
        self._generations.leave(self._generation)
        if self._admission is not None:
            self._admission.left()


class Draining:
    """503 `server_busy` with Retry-After while draining, or overloaded."""

    def __init__(self, lifecycle: Lifecycle, admission: Admission, served: Serving) -> None:
        self._lifecycle = lifecycle
        self._admission = admission
        self._served = served
        self._settings: ServerSettings | None = None

    def enter(self, scope: Scope) -> Stay | ServerBusy | None:
        """Let the request in, or not; None: it is in, and does not count."""
        if scope["path"] in PROBES:
            return None
        if self._lifecycle.draining:
            return ShuttingDown(
                "The server is shutting down and takes no new request.",
                hint="Send the request again in a few seconds.",
                retry_after_s=RETRY_AFTER_S,
            )
        generations = self._served.generations
        if scope["method"] in LIGHT_METHODS or scope["path"].startswith(ADMIN):
            return Stay(self._lifecycle, generations, None)
        settings = self._served.settings.server
        if settings is not self._settings:
            self._settings, self._admission.limits = settings, limits_of(settings)
        return self._admission.admit() or Stay(self._lifecycle, generations, self._admission)


def limits_of(settings: ServerSettings) -> OverloadLimits:
    """The limits that the settings ask for."""
    return OverloadLimits(
        max_in_flight=settings.max_in_flight,
        resume_in_flight=int(settings.max_in_flight * RESUME_SHARE),
        max_lag_s=settings.max_loop_lag_s,
        resume_lag_s=settings.max_loop_lag_s * RESUME_LAG_SHARE,
    )
