"""Every path but the open ones asks for a key, if there are any."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from waypost.errors import AuthenticationRequired, DatabaseUnavailable, TooManyFailedKeys
from waypost.server.application import ServedApplication
from waypost.server.callers import set_caller

OPEN: Final = frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"})
"""What anybody may see: probes, and pages that hold nothing of anybody's."""
OPEN_PREFIX: Final = "/assets/"


def is_open(path: str) -> bool:
    """May anybody see it, whatever keys there are?"""
    return path in OPEN or path.startswith(OPEN_PREFIX)


class Authenticate:
    """401 `authentication_required`, 503 while keys cannot be read; the caller is noted in the scope."""

    def __init__(self, served: ServedApplication) -> None:
        self._served = served

    def refusal(self, scope: Scope) -> AuthenticationRequired | TooManyFailedKeys | DatabaseUnavailable | None:
        """None: the request may come in."""
        callers = self._served.callers
        # A browser's preflight can carry no key; it is answered before any handler.
        if callers.open_to_all or is_open(scope["path"]):
            return None
        try:
            set_caller(scope, callers.identify(scope))
        except (AuthenticationRequired, TooManyFailedKeys, DatabaseUnavailable) as error:
            return error
        return None
