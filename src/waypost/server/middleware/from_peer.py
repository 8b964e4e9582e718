"""The private socket's own check: takes only what another worker of this server passes on, for whom that one says.

The other worker has checked the request and its caller already; whoever reaches this socket without the token is
refused. Public sockets never look at these headers.
"""

from __future__ import annotations

import hmac

from starlette.types import ASGIApp, Receive, Scope, Send

from waypost.errors import AuthenticationRequired
from waypost.server.callers import UnknownKey, set_caller
from waypost.server.envelope import error_reply
from waypost.server.middleware.authenticate import METRICS
from waypost.server.middleware.headers import header_value
from waypost.server.peers import CALLER, TOKEN
from waypost.server.serving import Serving

_FROM_PEER = "from_peer"
_GONE = "The caller's key is not one of this server's any more."


class FromPeer:
    """401 `authentication_required` without the token, or for a caller whose key has just been taken away."""

    def __init__(self, app: ASGIApp, served: Serving, token: str) -> None:
        self.app = app
        self._served = served
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one connection of any type."""
        error = self.refusal(scope) if scope["type"] == "http" else None
        if error is not None:
            await error_reply(error, scope)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def refusal(self, scope: Scope) -> AuthenticationRequired | None:
        """None: the request may come in."""
        shown = (header_value(scope, TOKEN.encode()) or "").encode()
        caller = self._served.callers.named(header_value(scope, CALLER.encode()) or "")
        if not hmac.compare_digest(shown, self._token):
            return AuthenticationRequired(_GONE)
        # Who scrapes need not be a caller.
        if caller is None and scope["path"] != METRICS:
            return UnknownKey(_GONE)
        if caller is not None:
            set_caller(scope, caller)
        scope.setdefault("state", {})[_FROM_PEER] = True
        return None


def is_from_peer(scope: Scope) -> bool:
    """Has another worker passed this request on?"""
    return bool(scope.get("state", {}).get(_FROM_PEER))
