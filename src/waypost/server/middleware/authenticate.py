"""Every path but the open ones asks for a key, if there are any."""

from __future__ import annotations

import hmac
from typing import Final

from starlette.types import Scope

from waypost.errors import AuthenticationRequired, DatabaseUnavailable, NotAllowed, RequestError, TooManyFailedKeys
from waypost.server.application import ServedApplication
from waypost.server.callers import key_in, set_caller

OPEN: Final = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
"""What anybody may see: probes, and pages that hold nothing of anybody's."""
METRICS: Final = "/metrics"
"""Has a rule of its own."""
OPEN_PREFIX: Final = "/assets/"


def is_open(path: str) -> bool:
    """May anybody see it, whatever keys there are?"""
    return path in OPEN or path.startswith(OPEN_PREFIX)


class Authenticate:
    """401 `authentication_required`, 503 while keys cannot be read; the caller is noted in the scope."""

    def __init__(self, served: ServedApplication) -> None:
        self._served = served

    def refusal(self, scope: Scope) -> RequestError | DatabaseUnavailable | None:
        """None: the request may come in."""
        callers = self._served.callers
        # A browser's preflight can carry no key; it is answered before any handler.
        if callers.open_to_all or is_open(scope["path"]):
            return None
        is_scrape = scope["path"] == METRICS
        if is_scrape and self._may_scrape(scope):
            return None
        try:
            caller = callers.identify(scope)
            if is_scrape:
                caller.demand_admin()
        except (AuthenticationRequired, TooManyFailedKeys, NotAllowed, DatabaseUnavailable) as error:
            return error
        set_caller(scope, caller)
        return None

    def _may_scrape(self, scope: Scope) -> bool:
        """Metrics are open, or this one shows their token."""
        telemetry = self._served.settings.telemetry
        if telemetry.metrics == "open":
            return True
        token = telemetry.metrics_token
        return token is not None and hmac.compare_digest(key_in(scope), token.get_secret_value().encode())
