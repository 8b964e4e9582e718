"""Who calls: the keys of this server's callers, in memory, and the guard against guessing them.

A key is looked up by its SHA-256, so that neither memory nor the time a look-up takes says anything about a key.
Without keys everybody who reaches the server, which then is on loopback only, is one caller who may do everything.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, cast

from starlette.types import Scope

from waypost.errors import AuthenticationRequired, NotAllowed, TooManyFailedKeys
from waypost.ledger.account import LOCAL as LOCAL_ACCOUNT
from waypost.ledger.account import Account, configured_account
from waypost.server.middleware.headers import header_value
from waypost.settings import KeySettings

LOCAL: Final = "local"
"""The name of the one caller of a server without keys."""
HEADERS: Final = (b"authorization", b"x-api-key", b"x-goog-api-key")
"""Where the SDKs of OpenAI, Anthropic and Google put a key."""
MOST_FAILURES: Final = 20
FAILURES_WINDOW_S: Final = 60.0
MOST_ADDRESSES: Final = 10_000
_CALLER: Final = "caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is. `name` is the key's in the settings: the tenant in every store."""

    name: str = LOCAL
    is_admin: bool = True
    settings: KeySettings | None = None
    account: Account = LOCAL_ACCOUNT

    def may_ask(self, model: str) -> bool:
        """May the key ask for this route or model?"""
        return self.settings is None or self.settings.allows(model or "default")

    def demand(self, model: str) -> None:
        """Raises NotAllowed if the key may not ask for this route or model."""
        if not self.may_ask(model):
            raise NotAllowed(
                f'The key "{self.name}" may not ask for "{model or "default"}".',
                hint="Ask for a model that it may use, or have the key's routes extended.",
            )

    def demand_admin(self) -> None:
        """Raises NotAllowed if the key may not administer."""
        if not self.is_admin:
            raise NotAllowed(f'The key "{self.name}" may not administer this server.', hint="Use an admin key.")


ANYBODY: Final = Caller()


class Callers:
    """The keys of one server. `clock` is in seconds."""

    def __init__(self, keys: Mapping[str, KeySettings], clock: Callable[[], float] = time.monotonic) -> None:
        self._callers = {
            each.digest(): Caller(
                name, each.admin, each, configured_account(name, is_admin=each.admin, routes=each.routes)
            )
            for name, each in keys.items()
        }
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def open_to_all(self) -> bool:
        """Are there no keys?"""
        return not self._callers

    def identify(self, scope: Scope) -> Caller:
        """The caller, by the key that the request shows.

        Raises AuthenticationRequired, and TooManyFailedKeys when one address has shown too many wrong keys.
        """
        if not self._callers:
            return ANYBODY
        key = key_in(scope)
        caller = self._callers.get(sha256(key).digest()) if key else None
        if caller is not None:
            return caller
        if not key:
            raise AuthenticationRequired(
                "This server asks for a key.",
                hint="Send it as authorization: Bearer …, x-api-key or x-goog-api-key.",
            )
        self._count_failure(scope)
        raise AuthenticationRequired("The key is not one of this server's.", hint="Check the key.")

    def named(self, name: str) -> Caller | None:
        """The caller whom another worker of this server has identified; None if there is none of that name now."""
        if not self._callers:
            return ANYBODY if name == LOCAL else None
        return next((caller for caller in self._callers.values() if caller.name == name), None)

    def _count_failure(self, scope: Scope) -> None:
        address = str((scope.get("client") or ("",))[0])
        count, since = self._failures.pop(address, (0, self._clock()))
        if self._clock() - since >= FAILURES_WINDOW_S:
            count, since = 0, self._clock()
        self._failures[address] = (count + 1, since)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        if count >= MOST_FAILURES:
            wait_s = max(1.0, since + FAILURES_WINDOW_S - self._clock())
            raise TooManyFailedKeys(
                f"More than {MOST_FAILURES} wrong keys came from this address within {FAILURES_WINDOW_S:.0f} s.",
                hint=f"Check the key, and try again in {wait_s:.0f} s.",
                retry_after_s=wait_s,
            )


def key_in(scope: Scope) -> bytes:
    """The key that a request shows, empty if there is none: the first of HEADERS, else Google's query parameter."""
    for name in HEADERS:
        value = (header_value(scope, name) or "").encode("latin-1")
        if name == b"authorization":
            scheme, _, value = value.partition(b" ")
            value = value if scheme.lower() == b"bearer" else b""
        if value := value.strip():
            return value
    return _queried(scope["query_string"]) if scope["path"].startswith(("/v1beta/", "/v1/models/")) else b""


def _queried(query: bytes) -> bytes:
    pairs = (pair.partition(b"=") for pair in query.split(b"&"))
    return next((value for name, _, value in pairs if name == b"key"), b"")


def caller_of(scope: Scope) -> Caller:
    """Whose request this is, once `Authenticate` has seen it."""
    return cast("Caller", scope.get("state", {}).get(_CALLER, ANYBODY))


def set_caller(scope: Scope, caller: Caller) -> None:
    """For `Authenticate`."""
    scope.setdefault("state", {})[_CALLER] = caller
